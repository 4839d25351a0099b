"""Which Python set-up takes: the fastest 3.11, and none that only looks like one."""

import subprocess

from infra.stack.settings import PROJECT_ROOT

SCRIPT = PROJECT_ROOT / "infra" / "stack" / "pythons_by_speed.sh"


def pythons(folder, **answers):
    """A folder with a program for each name that answers the timing with these words, or ends with 1 for None."""
    for name, answer in answers.items():
        program = folder / name.replace("_", ".")
        program.write_text(f"#!/bin/sh\necho '{answer}'\n" if answer else "#!/bin/sh\necho 0.000001 /no\nexit 1\n")
        program.chmod(0o755)
    return folder


def listed(folder, named=None):
    environment = {"PATH": f"{folder}:/usr/bin:/bin"} | ({"KEFULAKE_PYTHON": str(named)} if named else {})
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


def test_the_fastest_comes_first_and_each_once(tmp_path):
    # No real Python answers in 0.000002 s or takes 900: the machine's own ones, whatever they are, lie between.
    pythons(tmp_path, python3_11="900.000000 /slow", python3="0.000002 /fast", python="0.000003 /fast")
    found = listed(tmp_path)
    assert (found[0], found[-1], found.count("/fast")) == ("/fast", "/slow", 1)


def test_one_that_fails_is_left_out_whatever_it_says(tmp_path):
    pythons(tmp_path, python3_11=None, python3="0.000002 /fast")
    found = listed(tmp_path)
    assert found[0] == "/fast"
    assert "/no" not in found


def test_only_the_named_one_counts_where_one_is_named(tmp_path):
    pythons(tmp_path, python3="0.000002 /fast", mine="900.000000 /mine")
    assert listed(tmp_path, named=tmp_path / "mine") == ["/mine"]


def test_a_named_program_that_is_no_python_3_11_gives_nothing(tmp_path):
    assert listed(tmp_path, named="/bin/true") == []
    assert listed(tmp_path, named=tmp_path / "missing") == []
