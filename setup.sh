# Sourced by run and check: installs the Debian packages that are missing.
# Packages that a build needs, and those that only the tests need.
packages_build='gcc make pkg-config libc6-dev linux-libc-dev libsodium-dev
	libyaml-dev libev-dev libjansson-dev libcap-dev libseccomp-dev
	libsystemd-dev libc-ares-dev clang libbpf-dev'
# gnuplot draws the plots of bench/; the last lines are services that the system
# tests put behind the proxy.
packages_test='libcmocka-dev python3 python3-pytest python3-pytest-xdist
	python3-nacl iproute2
	procps mandoc bpftool strace gnuplot-nox ethtool
	systemd socat nftables nginx libnginx-mod-stream wrk iperf3 redis-tools
	dnsmasq-base unbound bind9-dnsutils haproxy openssl
	wireguard-go wireguard-tools ngtcp2-client ngtcp2-server'

# ./run --syscalls watches the servers by it.
packages_story=strace

# A browser for one test: .ci/run has it, ./check goes without and says so.
packages_page='chromium chromium-driver python3-selenium'

missing() {
	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
			grep -q '^install ok installed$' || echo "$package"
	done
}

# setup ROLE…: ROLE is build, test, story or page.
setup() {
	want=
	for role in "$@"; do
		eval "want=\"\$want \$packages_$role\""
	done
	# shellcheck disable=SC2086  # lists of words
	absent=$(missing $want)
	[ -n "$absent" ] || return 0
	sudo=
	if [ "$(id -u)" -ne 0 ]; then
		sudo=sudo
		command -v sudo >/dev/null || {
			echo "missing packages, and neither root nor sudo to install them:" $absent >&2
			return 1
		}
	fi
	echo "installing:" $absent
	# shellcheck disable=SC2086
	$sudo tests/install-quietly $absent
}
