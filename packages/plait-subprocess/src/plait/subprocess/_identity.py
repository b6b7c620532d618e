# SPDX-License-Identifier: MIT
"""User and group names for a child, looked up before it is started."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["resolve"]


def _group_number(group: str | int) -> int:
    if isinstance(group, str):
        import grp

        return grp.getgrnam(group).gr_gid
    if not isinstance(group, int):
        raise TypeError(f"a group is a name or a number, not {group!r}")
    if group < 0:
        raise ValueError(f"group numbers are not negative: {group}")
    return group


def resolve(
    user: str | int | None, group: str | int | None, extra_groups: Iterable[str | int] | None
) -> tuple[int | None, int | None, list[int] | None]:
    """The numbers of a user, a group and further groups; None stays None. KeyError for an unknown name."""
    uid: int | None
    if isinstance(user, str):
        import pwd

        uid = pwd.getpwnam(user).pw_uid
    elif user is None or isinstance(user, int):
        uid = user
        if uid is not None and uid < 0:
            raise ValueError(f"user numbers are not negative: {uid}")
    else:
        raise TypeError(f"a user is a name or a number, not {user!r}")
    gid = None if group is None else _group_number(group)
    if isinstance(extra_groups, str):
        raise ValueError(  # noqa: TRY004 - what the standard class raises
            "extra_groups is a list of names or numbers, not one string"
        )
    return uid, gid, None if extra_groups is None else [_group_number(one) for one in extra_groups]
