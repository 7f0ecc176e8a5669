"""``lensora mesh``: what operators see and change of the mesh."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.running import run, typed_errors
from lensora.core.errors import InvalidArgument
from lensora.runtime import mesh

if TYPE_CHECKING:
    from controlplane.wire import admin_pb2

mesh_app = typer.Typer(no_args_is_help=True, help="Tracks, weights and certificates: see docs/mesh.md.")

Server = Annotated[str, typer.Option(envvar="LENSORA_CONTROLPLANE", help="HOST:PORT of a control plane.")]
Certificates = Annotated[
    Path | None, typer.Option(envvar="LENSORA_CERTIFICATES", help="Folder with tls.crt, tls.key and ca.crt.")
]
SERVER = "127.0.0.1:50060"


@mesh_app.command()
def status(
    server: Server = SERVER,
    certificates: Certificates = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Weights, instances and calls of every track, and who is connected with what; exit status 1 if all is not well."""
    from cli.control import connected

    async def ask() -> admin_pb2.GetStatusResponse:
        async with connected(server, certificates) as control:
            return await control.status()

    console = Console()
    with typed_errors(console):
        found: admin_pb2.GetStatusResponse = run(ask())
    if as_json:
        from google.protobuf import json_format

        document = json_format.MessageToDict(
            found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        typer.echo(json.dumps(document))
    else:
        _print(found, console)
    if found.refused or any(one.refused for client in found.clients for one in client.subscriptions):
        raise typer.Exit(1)


@mesh_app.command()
def weight(
    service: Annotated[str, typer.Argument(help="For example mesh3d.")],
    share: Annotated[str, typer.Argument(help="canary=PERCENT; the stable track gets the rest.")],
    server: Server = SERVER,
    certificates: Certificates = None,
) -> None:
    """Change what share of a service's calls its canary gets."""
    from cli.control import connected

    async def change(percent: int) -> None:
        async with connected(server, certificates) as control:
            await control.set_canary(service, percent)

    with typed_errors(Console(stderr=True)):
        found = re.fullmatch(r"canary=(\d{1,3})%?", share)
        if found is None or int(found[1]) > 100:
            raise InvalidArgument.of("share", "canary=0 to canary=100")
        run(change(int(found[1])))
    typer.echo(f"{service}: stable {100 - int(found[1])} %, canary {found[1]} %")


@mesh_app.command()
def certs(
    out: Annotated[Path, typer.Option(help="Folder of the authority; each member gets a folder in it.")] = Path(
        "certs"
    ),
    members: Annotated[
        list[str] | None, typer.Argument(help="Members; the services, gateway, controlplane and operator by default.")
    ] = None,
    days: Annotated[float, typer.Option(min=0.001, max=825, help="How long they are good.")] = 30,
    name: Annotated[list[str] | None, typer.Option(help="A further DNS name for all of them; may be repeated.")] = None,
) -> None:
    """Issue certificates of a development CA, or new ones in place: who runs takes them without a restart."""
    from controlplane.authority import Authority

    with typed_errors(Console(stderr=True)):
        authority = Authority.open(out)
        for member in members or (*mesh.SERVICES, "gateway", "controlplane", mesh.OPERATOR):
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,61}", member):
                raise InvalidArgument.of("members", "lower-case letters, digits and -")
            authority.issue(out / member, member, days, name or ())
            typer.echo(f"{out / member}: {mesh.identity(member)}, {days:g} days")


@mesh_app.command()
def bootstrap(
    node: Annotated[str, typer.Option(help="Name of the client, its own among all.")],
    server: Annotated[str, typer.Option(help="The control plane.")] = f"dns:///{SERVER}",
    certificates: Annotated[str, typer.Option(help="The client's folder of them, as it sees it.")] = "",
) -> None:
    """Print what a client must know, for the file that GRPC_XDS_BOOTSTRAP names."""
    typer.echo(mesh.bootstrap(server, node, certificates))


def _print(found: admin_pb2.GetStatusResponse, console: Console) -> None:
    if found.refused:
        console.print(f"[bold red]the newest configuration is refused[/]  {found.refused}", highlight=False)
        console.print("The last good one is in force:" if found.services else "There is none in force.")
    headings = ("service", "track", "weight", "instances", "calls", "failed", "running", "dropped", "diverted", "")
    tracks = Table(*headings, box=None)
    for service in found.services:
        for track in service.tracks:
            if track.name == "canary" and not (track.weight or track.endpoints or track.issued):
                continue
            counts = (track.issued, track.failed, track.running, track.dropped, track.diverted)
            trouble = "avoided: ejected, or not to be reached" if track.avoided else ""
            places = ", ".join(track.endpoints) or "none"
            tracks.add_row(service.name, track.name, f"{track.weight} %", places, *map(str, counts), trouble)
    console.print(tracks)
    kinds = ("listeners", "routes", "clusters", "endpoints")
    clients = Table("client", "from", *kinds, box=None)
    for client in found.clients:
        has = {one.kind: one for one in client.subscriptions}
        clients.add_row(client.node, client.peer, *(_state(has.get(kind)) for kind in kinds))
    console.print(clients if found.clients else "nobody is connected")


def _state(one: admin_pb2.Subscription | None) -> str:
    if one is None:
        return "-"
    if one.refused:
        return f"refused: {one.refused}"
    return one.acknowledged if one.acknowledged == one.sent else f"{one.acknowledged or '-'} (sent {one.sent})"
