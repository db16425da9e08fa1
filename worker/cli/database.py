"""``db``: the tables and their revisions."""

from typing import Annotated

import typer

from worker.cli.exit_codes import Flowing
from worker.cli.options import AsJson
from worker.cli.terminal import put, put_json, say

app = typer.Typer(
    name="db",
    cls=Flowing,
    help="Create, update or look at the database's tables.",
    no_args_is_help=True,
)


@app.command()
def upgrade() -> None:
    """Create the tables, or bring them up to this version."""
    from worker.adapters.database import current as revision_of
    from worker.adapters.database.engine.migrate import upgrade as bring_up

    url = _url()
    bring_up(url)
    put(f"at revision {revision_of(url)}")


@app.command()
def current(*, as_json: AsJson = False) -> None:
    """Print the database's revision, and whether this version wants another."""
    from worker.adapters.database.engine.revision import HEAD, NEWER_CURE, is_known
    from worker.adapters.database.engine.revision import current as revision_of

    revision = revision_of(_url())
    if as_json:
        put_json({"revision": revision, "wanted": HEAD})
    else:
        put(revision or "none")
    if revision is not None and not is_known(revision):
        say(f"made by a newer version, this one wants {HEAD}: {NEWER_CURE}")
    elif revision != HEAD:
        say(f"this version wants {HEAD}: chatflow-ingest db upgrade")


@app.command(context_settings={"ignore_unknown_options": True})
def downgrade(
    revision: Annotated[
        str,
        typer.Argument(
            metavar="[REVISION]", help='A revision, "-1" for one step back, "base" for no tables.'
        ),
    ] = "-1",
) -> None:
    """Take the tables back to a former revision. What it did not know is lost."""
    from worker.adapters.database import current as revision_of
    from worker.adapters.database.engine.migrate import downgrade as take_back

    url = _url()
    take_back(url, revision)
    put(f"at revision {revision_of(url) or 'none'}")


def _url() -> str:
    from worker.settings import Settings

    return Settings.load().database_url
