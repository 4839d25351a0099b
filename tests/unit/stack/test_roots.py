"""Where a region's root is, what a process that enters it sees, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.stack import roots
from infra.stack.settings import PORT_BASE_FILE, PROJECT_ROOT, REGION_FILE, Ports, Settings
from jobs.ops import auditing, identity, identity_match, identity_resolve
from pipelines.collectors import regions
from pipelines.contracts import ContractError
from pipelines.io import cluster_region
from pipelines.io.cluster_region import WrongRegion


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home region cn in <tmp>/lake and two further ones: sg beside it, us where the policy says."""
    names = ("KEFULAKE_HOME", "KEFULAKE_PORT_BASE", "KEFULAKE_REGION", roots.HOME_REGION, *roots.OWN_VARIABLES)
    for name in (*names, *(f"{name}_{region}" for name in names for region in ("CN", "SG", "US"))):
        monkeypatch.setenv(name, "")  # so that it is put back after the test, whatever enter() did to it
        monkeypatch.delenv(name)
    declare(monkeypatch, {"sg": {}, "us": {"root": str(tmp_path / "elsewhere"), "port_base": 30000}})
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path / "lake"))
    return tmp_path / "lake"


def declare(monkeypatch: pytest.MonkeyPatch, further: dict) -> None:
    declared = regions.read({"version": "t", "home": "cn", "further": further, "cluster_mark": "region."})
    monkeypatch.setattr(regions, "declared", lambda: declared)


def test_a_root_is_a_home_beside_the_home_regions_or_where_the_policy_says(home: Path) -> None:
    here = Settings.load(home, 20000)
    assert roots.root_of(here, "cn") == here
    assert roots.root_of(here, "sg") == Settings(home.with_name("lake-sg"), Ports(20020), "sg")
    assert roots.root_of(here, "us") == Settings(home.with_name("elsewhere"), Ports(30000), "us")


def test_from_a_root_the_others_are_found_too(home: Path) -> None:
    sg = roots.root_of(Settings.load(home, 20000), "sg")
    assert roots.root_of(sg, "cn") == Settings(home, Ports(20000))
    assert roots.root_of(sg, "us").home == home.with_name("elsewhere")
    us = roots.root_of(sg, "us")
    with pytest.raises(ValueError, match=r"cannot be seen from .*elsewhere"):
        roots.root_of(us, "cn")
    roots.enter("us")
    assert roots.root_of(us, "cn").home == home


def test_a_root_has_the_ports_it_was_brought_up_with(home: Path) -> None:
    home.with_name("lake-sg").mkdir()
    (home.with_name("lake-sg") / PORT_BASE_FILE).write_text("25000")
    assert roots.root_of(Settings.load(home, 20000), "sg").ports.base == 25000


def test_who_enters_a_region_sees_its_names_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots.enter("sg")
    sg = Settings.load()
    assert (sg.home, sg.region, roots.region_of(sg)) == (home.with_name("lake-sg"), "sg", "sg")
    assert sg.table_path("silver.interactions").is_relative_to(sg.home)
    roots.mark(sg)  # as `up` does
    assert (sg.home / REGION_FILE).read_text() == "sg"
    monkeypatch.delenv("KEFULAKE_REGION")  # a root says itself whose it is
    assert Settings.load(sg.home).region == "sg"
    roots.enter("cn")
    assert (Settings.load().home, Settings.load().region) == (home, None)


def test_servers_and_keys_of_one_region_are_not_those_of_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFULAKE_KAFKA", "kafka.cn:9092")
    monkeypatch.setenv("KEFULAKE_MASTER_KEY", "key of cn")
    monkeypatch.setenv("KEFULAKE_KAFKA_SG", "kafka.sg:9092")
    environment = roots.os.environ
    roots.enter("sg")
    assert environment["KEFULAKE_KAFKA"] == "kafka.sg:9092"
    assert "KEFULAKE_MASTER_KEY" not in environment  # sg has a key file of its own: cn's key would join people
    roots.enter("us")
    assert not {"KEFULAKE_KAFKA", "KEFULAKE_MASTER_KEY"} & set(environment)
    roots.enter("cn")
    assert (environment["KEFULAKE_KAFKA"], environment["KEFULAKE_MASTER_KEY"]) == ("kafka.cn:9092", "key of cn")


def test_every_server_and_key_there_is_belongs_to_a_region() -> None:
    """A new variable that names a server, and is forgotten here, would lead a further region to the home region's."""
    code = "".join(path.read_text(encoding="utf-8") for path in (PROJECT_ROOT / "infra").rglob("*.py"))
    code += "".join(path.read_text(encoding="utf-8") for path in (PROJECT_ROOT / "pipelines").rglob("*.py"))
    named = set(re.findall(r"KEFULAKE_\w*(?:_URL|KAFKA|_KEY|BACKUP|BACKUP_KEYS)\b", code))
    assert named == set(roots.OWN_VARIABLES)


def test_a_region_told_and_the_home_must_agree(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / PORT_BASE_FILE).write_text("20000")  # it was used, and carries no mark: the home region's
    monkeypatch.setenv("KEFULAKE_REGION", "sg")
    with pytest.raises(ValueError, match=r"lake is the root of region cn\. Use kefulake --region sg"):
        Settings.load()
    monkeypatch.setenv("KEFULAKE_REGION", "cn")
    assert Settings.load().region is None


@pytest.mark.parametrize("inner", ["lake/regions/sg", "lake"])
def test_no_root_lies_within_another(home: Path, inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, {"sg": {"root": str(home.parent / inner)}})
    with pytest.raises(roots.RootsOverlap, match=r"the root of (sg|cn)"):
        roots.mark(Settings.load(home))


def test_a_root_of_a_region_no_longer_declared_does_not_come_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sg = roots.enter("sg")
    roots.mark(sg)
    declare(monkeypatch, {})
    with pytest.raises(ContractError, match="no region 'sg'"):
        roots.mark(sg)


class Cluster:
    """Stands for the admin client of one cluster: what `cluster_region` asks it."""

    def __init__(self, *topics: str) -> None:
        self.topics = dict.fromkeys(topics)

    def list_topics(self, timeout: float) -> Cluster:
        return self

    def create_topics(self, new: list) -> dict:
        self.topics |= {topic.topic: None for topic in new}
        return {}


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> dict[str, Cluster]:
    """Clusters by address: a used one of the time before regions, and a new one."""
    found = {"old:1": Cluster("raw.app", "interactions.clean"), "new:1": Cluster()}
    monkeypatch.setattr(cluster_region, "AdminClient", lambda config: found[config["bootstrap.servers"]])
    return found


def test_a_cluster_has_one_region(home: Path, clusters: dict[str, Cluster]) -> None:
    known = regions.declared()
    with pytest.raises(WrongRegion, match=r"not marked\. Run: kefulake --region sg up"):
        cluster_region.require("new:1", "sg", known)
    with pytest.raises(WrongRegion, match=r"old:1 holds interactions\.clean of cn"):
        cluster_region.claim("old:1", "sg", known)  # what lies there is the home region's
    assert cluster_region.claim("old:1", "cn", known)
    assert cluster_region.claim("new:1", "sg", known)
    assert not cluster_region.claim("new:1", "sg", known)  # a second `up`
    cluster_region.require("new:1", "sg", known)
    for servers, region in (("new:1", "cn"), ("old:1", "sg"), ("new:1", "us")):
        for ask in (cluster_region.claim, cluster_region.require):
            with pytest.raises(WrongRegion, match=r"belongs to region (cn|sg), not to"):
                ask(servers, region, known)


def test_nothing_of_one_region_is_written_below_anothers_root(
    home: Path, clusters: dict[str, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = regions.declared()
    cluster_region.claim("old:1", "cn", known)
    cluster_region.claim("new:1", "sg", known)
    monkeypatch.setenv("KEFULAKE_KAFKA", "new:1")
    sg = roots.root_of(Settings.load(home, 20000), "sg")
    roots.mark(sg)
    roots.require_own_cluster(sg)
    with pytest.raises(WrongRegion, match=r"lake-sg is the root of region sg: nothing of cn may be written there"):
        roots.require_own_cluster(Settings(sg.home, sg.ports))
    with pytest.raises(WrongRegion, match="belongs to region sg, not to cn"):
        roots.require_own_cluster(Settings.load(home, 20000))  # the home region, pointed at sg's broker


def test_what_changes_identities_or_is_audited_stops_at_another_regions_broker(
    home: Path, clusters: dict[str, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a database is opened: there is none here."""
    cluster_region.claim("new:1", "sg", regions.declared())
    monkeypatch.setenv("KEFULAKE_KAFKA", "new:1")
    here = Settings.load(home, 20000)
    for reach in (
        lambda: auditing.audit_log(here),  # erasures, rotations, look-ups, consultations
        identity.open_store,  # merge, split, review
        lambda: identity.load_file(here, home / "crm.csv", now_us=0),
        lambda: identity_match.run(here, anew=False, learn=False, dry_run=False, clock=lambda: 0),
        lambda: identity_resolve.run(here, dry_run=False, clock=lambda: 0),
    ):
        with pytest.raises(WrongRegion, match="belongs to region sg, not to cn"):
            reach()


def test_with_one_region_no_broker_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, {})
    monkeypatch.setattr(cluster_region, "AdminClient", None)  # would fail if it were called
    here = Settings.load(home, 20000)
    roots.mark(here)
    roots.claim_cluster(here)
    roots.require_own_cluster(here)
    assert roots.bootstrap_of(here, "cn") == here.bootstrap
    assert not (home / REGION_FILE).exists()
