"""`vqa-engine pull`: a checkpoint brought to this machine, before anything is run."""

from __future__ import annotations

import click

from vqa_engine_cli.help import Command
from vqa_engine_cli.terminal import echo

_NOT_FETCHABLE = (
    "The adapter {name!r} has no checkpoint of its own to download; name a model: "
    "vqa-engine pull {name}@OWNER/MODEL."
)


@click.command(cls=Command, short_help="Download a checkpoint.")
@click.argument("what", metavar="ADAPTER[@MODEL]|MODEL")
@click.option("--revision", help="Branch, tag or commit of the model on the hub.")
@click.option(
    "--trust-remote-code", is_flag=True, help="Fetch the code that comes with the checkpoint too."
)
def pull(what: str, revision: str | None, trust_remote_code: bool) -> None:
    """Download a checkpoint: an adapter's default one, or a MODEL on the hub (OWNER/NAME).

    An interrupted download goes on where it stopped. What is here already is not fetched
    again.

    \b
    Examples:
      vqa-engine pull smolvlm
      vqa-engine pull mlx-community/Qwen2.5-VL-3B-Instruct-4bit
    """

    from vqa_engine.adapter import ModelRef
    from vqa_engine.console import PlainConsole
    from vqa_engine.plugins.spec import AdapterSpec
    from vqa_engine.worker.apart import fetched
    from vqa_engine_cli.downloads import Downloads

    name, _, model = what.partition("@")
    if "/" in name:
        name, model = _any_adapter(), what
    downloads = Downloads(PlainConsole(stderr=True, soft_wrap=True))
    wanted = ModelRef(model=model or None, revision=revision, trust_remote_code=trust_remote_code)
    try:
        done = fetched(
            AdapterSpec(name=name, model=wanted), lambda transfer: downloads.show(what, transfer)
        )
    finally:
        downloads.close()
    if not done:
        raise click.UsageError(_NOT_FETCHABLE.format(name=name))
    echo(f"{what}: the checkpoint is on this machine.")


def _any_adapter() -> str:
    """An adapter that takes any model of the hub; which of them makes no difference."""
    from vqa_engine.plugins import registry

    known = [plugin.name for plugin in registry.find()]
    return next((one for one in ("mlx_vlm", "transformers") if one in known), "smolvlm")
