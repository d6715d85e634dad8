"""The allocators: what each is, and where Debian has it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """An allocator; its program is bench_NAME."""

    name: str
    title: str
    package: str = ""  # of Debian; none if nothing is to be installed
    private: bool = False  # no process can share it: its members are threads
    best: bool = False  # one of those whose best is the limit of a private malloc
    named: bool = False  # a process joins by a name
    slow: bool = False  # of little weight: measured in every second round


PEERS = [
    Peer("psm", "PSM", named=True),
    Peer("psm_large", "PSM, large pages", named=True, slow=True),
    Peer("mimalloc", "mimalloc", "libmimalloc-dev", private=True, best=True),
    Peer("jemalloc", "jemalloc", "libjemalloc-dev", private=True, best=True),
    Peer("tcmalloc", "tcmalloc", "libgoogle-perftools-dev", private=True, best=True),
    Peer("glibc", "glibc", private=True),
    Peer("boost", "Boost", "libboost-dev", named=True),
    Peer("boost_fixed", "Boost fixed", "libboost-dev", named=True, slow=True),
    Peer("boost_seq", "Boost seq_fit", "libboost-dev", named=True, slow=True),
    Peer("boost_fixed_seq", "Boost fixed seq_fit", "libboost-dev", named=True, slow=True),
    Peer("pmemobj", "libpmemobj", "libpmemobj-dev", named=True, slow=True),
    Peer("apr", "APR rmm", "libapr1-dev libaprutil1-dev", slow=True),
    Peer("mm", "OSSP mm", "libmm-dev", slow=True),
]
BY_NAME = {peer.name: peer for peer in PEERS}


def choose(build, wanted):
    """The peers that are wanted and built, and a sentence for each that is left out.

    `wanted` is a list of names, or None for all. Raises ValueError for a name that is none.
    """
    unknown = set(wanted or []) - set(BY_NAME)
    if unknown:
        raise ValueError(
            f"no such peer: {' '.join(sorted(unknown))} (there are {' '.join(BY_NAME)})"
        )
    chosen, left_out = [], []
    for peer in PEERS:
        if wanted and peer.name not in wanted:
            left_out.append(f"{peer.title}: not wanted")
        elif not (build / "bench" / f"bench_{peer.name}").exists():
            hint = f"; it needs {peer.package}" if peer.package else ""
            left_out.append(f"{peer.title}: not built{hint}")
        else:
            chosen.append(peer)
    return chosen, left_out
