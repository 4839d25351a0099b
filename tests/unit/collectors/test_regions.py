"""The policy of regions: what it says, and each mistake named with its cure; and one door with a producer a region."""

import asyncio

import pytest

from pipelines import contracts
from pipelines.collectors import regions
from pipelines.collectors.refusals import Refusal
from pipelines.collectors.region_producers import RegionProducers
from pipelines.collectors.regions import Further, Regions
from pipelines.contracts import ContractError
from pipelines.io.cluster_region import WrongRegion

POLICY = contracts.policy("regions")
SG = {"accounts": {"web_chat": ["shop_sg", "help_sg"], "email": ["help@sg.example.com"]}}


def test_today_there_is_the_home_region_and_nothing_to_look_up():
    known = regions.read(POLICY)
    assert (known.names, known.several, known.by_account) == (("cn",), False, {})


def test_accounts_belong_to_the_region_that_names_them_and_the_rest_to_the_home_region():
    known = regions.read(POLICY | {"further": {"sg": SG, "de": None}})
    assert known.names == ("cn", "sg", "de")
    assert known.of("web_chat", "help_sg") == "sg"
    assert known.of("email", "help@example.com") == "cn"
    assert known.accounts_in("sg") == {"web_chat": "shop_sg", "email": "help@sg.example.com"}
    assert known.accounts_in("cn") == {}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"homme": "cn"}, "known keys are cluster_mark, further, home, version"),  # misspelt
        ({"home": "China"}, "small letters"),
        ({"further": {False: {}}}, "YAML reads no"),  # no: is Norway to a person
        ({"further": {"cn": {}}}, "cn is the home region"),
        ({"further": {"sg": {"acounts": {}}}}, "sg: known keys are accounts, port_base, root"),
        ({"further": {"sg": {"accounts": {"wechta": ["a"]}}}}, "no channel 'wechta'"),
        ({"further": {"sg": {"accounts": {"app": "a"}}}}, "accounts of app must be a list"),
        ({"further": {"sg": SG, "de": SG}}, "account 'shop_sg' of web_chat is named twice"),
        ({"further": {"sg": {"accounts": {"app": ["a", "a"]}}}}, "account 'a' of app is named twice"),
        ({"further": {"sg": {"root": "sg"}}}, "root must be an absolute path"),
        ({"further": {"sg": {"port_base": "19300"}}}, "port_base must be a number"),
        ({"further": {"sg": {"port_base": 80}}}, "port_base must be a number"),
    ],
)
def test_mistakes_are_named(changed, said):
    with pytest.raises(ContractError, match=said):
        regions.read(POLICY | changed)


class Producer:
    """Stands for a producer of one cluster."""

    def __init__(self, servers):
        self.servers = servers

    def reachable(self):
        return True


def producers(known, here, bootstrap_of):
    return RegionProducers(known, here, bootstrap_of, Producer)


def test_each_message_goes_to_the_cluster_of_its_accounts_region():
    known, asked = regions.read(POLICY | {"further": {"sg": SG}}), []

    def bootstrap_of(region):
        asked.append(region)
        return f"kafka.{region}"

    async def all_of_them():
        door = producers(known, "cn", bootstrap_of)
        wanted = [
            ("web_chat", "shop_sg"),
            ("web_chat", "default"),
            ("app", "shop_sg"),
            ("email", "help@sg.example.com"),
        ]
        return [(await door.of(*account)).servers for account in wanted]

    assert asyncio.run(all_of_them()) == ["kafka.sg", "kafka.cn", "kafka.cn", "kafka.sg"]
    assert sorted(asked) == ["cn", "sg"]  # each once


def test_a_region_whose_cluster_is_not_its_own_takes_nothing_and_the_others_go_on():
    def bootstrap_of(region):
        if region == "sg":
            raise WrongRegion("the cluster belongs to region cn")
        return "kafka.cn"

    async def one_each():
        door = producers(Regions("cn", (Further("sg"),), {("app", "a"): "sg"}), "cn", bootstrap_of)
        with pytest.raises(Refusal) as refused:
            await door.of("app", "a")
        assert refused.value.error == "kafka.unavailable"
        assert (await door.of("app", "b")).servers == "kafka.cn"
        assert await door.reachable()

    asyncio.run(one_each())
