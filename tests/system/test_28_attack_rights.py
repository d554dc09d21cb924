"""Rights where the kernel gives less than we ask for."""
import base64
import os
import pathlib
import subprocess

import harness
import pytest
from nacl.signing import SigningKey

DAC_READ_SEARCH = 1 << 2

# A launcher: landlock_create_ruleset(2) fails as in an older kernel.
NO_LANDLOCK = r"""
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 444, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { 4, f };
	if (argc < 2 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) != 0)
		return 99;
	execv(argv[1], argv + 1);
	return 98;
}
"""


@pytest.fixture(scope="module")
def without_landlock(tmp_path_factory):
    directory = tmp_path_factory.mktemp("launcher")
    (directory / "l.c").write_text(NO_LANDLOCK)
    subprocess.run([os.environ.get("CC", "cc"), "-o", directory / "l",
                    directory / "l.c"], check=True)
    return [str(directory / "l")]


@pytest.fixture
def offline(tmp_path):
    """A configuration with bundles only: the server itself reads them."""
    root, now = SigningKey(os.urandom(32)), harness.oracle.now_us() // 10**6
    (tmp_path / "bundles").mkdir(0o755)
    harness.write_secret(
        tmp_path / "bundles" / "1",
        harness.bundle_text(root, SigningKey(os.urandom(32)), now - 3600,
                            now + 86400))
    return [{"name": "offline", "delegations": str(tmp_path / "bundles"),
             "public_key": base64.b64encode(
                 bytes(root.verify_key)).decode()}]


def rights(daemon):
    found = {int(harness.status_of(int(task.name))["CapPrm"], 16)
             for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir()}
    assert len(found) == 1, "the same in every thread"
    return found.pop()


def test_reading_everything_needs_a_fence(as_root, start, offline,
                                          without_landlock):
    """The right to read root's bundles is kept only inside Landlock."""
    fenced = start(identities=offline)
    assert rights(fenced) == DAC_READ_SEARCH
    bare = start(identities=offline, prefix=without_landlock)
    assert rights(bare) == 0
    bare.expect_log("no Landlock")
    for daemon in (fenced, bare):
        daemon.hup()
        daemon.expect_log("(?m): reloaded$")


def test_no_landlock_and_a_key_file(as_root, start, identity,
                                    without_landlock):
    daemon = start(prefix=without_landlock)
    assert rights(daemon) == 0
    daemon.hup()
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        udp.verified(identity.public, "rfc")
