"""A takedown: a page or a host is put on the list of what is kept out, and taken out of every table.

It has two phases. What is meant is *listed*, in one commit: from then on it is neither taken in nor crawled. Then it is
taken out of all that the data root holds, and when nothing is left it is noted as *applied*. What was listed and not
applied, since the command was killed or publishing was refused, the next run finishes first.

What is forgotten is deleted, not hidden: the versions and snapshots that still hold it go too. The network is not
asked. The list itself is :class:`quarry_dagster.store.Forgotten`; crawl and intake ask it.

Why so: "A takedown is listed, and then applied" in docs/decisions.md.
"""

from quarry_dagster.takedown.listing import Plan, Undone, plan, put_on_list, undo
from quarry_dagster.takedown.taking_out import finish, forget, is_unfinished, resume, take_out

__all__ = ["Plan", "Undone", "finish", "forget", "is_unfinished", "plan", "put_on_list", "resume", "take_out", "undo"]
