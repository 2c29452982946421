"""`vqa-engine adapters`: every plugin, healthy or broken, with the reason."""

from __future__ import annotations

import click

from vqa_engine_cli.options import json_option, options


@click.command()
@options(json_option)
def adapters(as_json: bool) -> None:
    """List every installed adapter: whether it works, where it comes from, why not."""
    from vqa_engine import registry
    from vqa_engine_cli.display import show_plugins, show_plugins_json

    reports = registry.report()
    if as_json:
        show_plugins_json(reports)
    else:
        show_plugins(reports)
