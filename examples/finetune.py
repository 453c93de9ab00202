"""Fine-tune a TSM checkpoint, or an image backbone, on your own labeled clips.

    python examples/finetune.py CHECKPOINT train.txt val.txt -o RUN
    python examples/finetune.py CHECKPOINT train.txt val.txt -o RUN --online   # one-way, distilled

Lists are upstream's (`edge-tsm frames` writes them; frame folders train faster than videos), or
folders of class folders. Interrupt it when you like: the same command goes on where it stopped.
"""

from pathlib import Path

import click

from converters.training.finetune import start_from, trainer
from converters.training.qat import simulate_int8
from converters.training.run_folder import RunFolder
from converters.training.trainer import TrainingSettings
from edge_tsm.data.sets import read_sets
from edge_tsm.errors import EdgeTsmError


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("train", type=click.Path(path_type=Path))
@click.argument("val", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option("--labels", help="Class names, separated by commas, if the lists have none.")
@click.option("--epochs", default=20, show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--rate", default=0.002, show_default=True, help="Peak learning rate.")
@click.option("--segments", type=int, help="Frames per clip, if not the checkpoint's.")
@click.option("--frozen", is_flag=True, help="Train the head alone: minutes instead of hours.")
@click.option("--partial-bn/--no-partial-bn", default=None, help="[default: if shifts are kept]")
@click.option("--online", is_flag=True, help="Shift from the past; the checkpoint is the teacher.")
@click.option("--size", "size_px", type=int, help="Side of the pictures, if not the checkpoint's.")
@click.option("--activation", type=click.Choice(["softmax", "sigmoid"]), default="softmax")
@click.option("--balance/--no-balance", default=True, help="Show rare classes as often as others.")
@click.option("--int8", is_flag=True, help="Quantization-aware: let the weights get used to int8.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, …")
@click.option("--workers", default=2, show_default=True, help="Processes that read clips.")
def main(checkpoint: Path, train: Path, val: Path, **options) -> None:
    """Train, and say what to convert."""
    clips, held_out = read_sets(train), read_sets(val)
    names = options["labels"].split(",") if options["labels"] else clips.labels
    labels = names or [f"class_{i}" for i in range(clips.classes)]
    form = {key: options[key] for key in ("segments", "size_px", "online")}
    start = start_from(checkpoint, labels, **form)
    found = f"head {start.head}, shifts {start.shifts}"
    click.echo(f"{start.network.name}, {len(labels)} classes, {found}")
    bn = options["partial_bn"]  # norms of pictures' statistics do not fit frames newly shifted
    keys = ("epochs", "batch", "device", "workers", "activation", "balance")
    settings = TrainingSettings(
        learning_rate=options["rate"], frozen_backbone=options["frozen"],
        partial_bn=start.shifts == "kept" if bn is None else bn, **{k: options[k] for k in keys},
    )  # fmt: skip
    teacher = start_from(checkpoint, labels, size_px=form["size_px"]) if form["online"] else None
    training = trainer(start, clips, held_out, settings, teacher=teacher)
    if options["int8"]:
        simulate_int8(training.model)
    run = RunFolder(options["output"], start.network, start.shift, start.labels)
    run.resume(training)
    training.fit(run.save, tell=click.echo)
    click.echo(f"next: edge-tsm convert {run.path}/ckpt.best.pth.tar")


if __name__ == "__main__":
    try:
        main()
    except EdgeTsmError as error:
        raise SystemExit(f"finetune: {error}") from None
