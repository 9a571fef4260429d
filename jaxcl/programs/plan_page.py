"""Plans as text: the lines that one prints, and the page of many. Knows no jax."""

import shlex
from collections.abc import Sequence
from typing import Any

KINDS = ("parameters", "optimizer", "bank", "images", "batch", "temporaries", "program")
HEAD = """# Plans

Each row is one run of `main.py plan`: the real train step of a config, compiled by the TPU's compiler for a topology of
which nothing was there. The command writes this page from the plans of a directory; `make plans` runs it for the usual
ones. What has no row is not yet run. Compiling took the time that is given on the machine of that day, busy or not; a
compiler that refuses a step does so before most of its work. The compiler is that of the named jax.

- *Memory* is bytes on one device, from the compiler, and it enforces its limit: a row that does not fit is one that it
  refused. Parameters include BatchNorm's statistics. Images are those that lie on every device (`data.resident`).
  Temporaries are activations and whatever else lives within a step.
- *Communicated* is the size of the results of all collectives of one step on one device, loops counted as often as
  they run.
- *Estimate* is no measurement. It is the longest of three times at the chip's published rates, each as if the device
  did nothing else: products and convolutions (counted from the jaxpr, loops as often as they run; float32 ones of the
  encoder take one pass of bfloat16, JAX's default, those of similarities and of resizing images six), the bytes that
  these read and write, and the bytes communicated. A real step is slower; by how much, only the machine tells.
"""


def lines(found: dict[str, Any]) -> str:
    """One plan, for the console."""
    memory, work = found["memory"], found["work"]
    fits = "fits" if found["fits"] else verdict(found).upper()
    text = [
        f"  {fits:20} {found['model']}, batch {found['batch_size']:,} on {found['devices']} devices "
        f"({found['topology']})",
        f"  {'on each device':20} {_cells(found)}{found['images_per_device']:,} images, "
        f"{found['anchors_per_device']:,} anchors against {found['candidates']:,} candidates",
    ]
    for kind in KINDS:
        text.append(f"  {kind:20} {size(memory[kind])}")
    limit = memory["compiler_limit"] or memory["chip"]
    of = f" of {size(limit)}" if limit else " (no limit known)"
    text.append(f"  {'together':20} {size(memory['total'])}{of}")
    for kind in found["collectives"]:
        text.append(f"  {kind['kind']:20} {kind['count']}, {size(kind['size'])}")
    text.append(
        f"  {'work':20} {work['flops']:.3g} flops, {size(work['size'])} on each device and step"
    )
    text.append(f"  {'estimate':20} {_estimate(found)}")
    text.append(f"  {'compiling took':20} {found['compile_seconds']:.0f} s")
    text += [f"  {'' if i else 'remedies':20} {line}" for i, line in enumerate(advice(found))]
    if found["reason"] and not found.get("crashed"):
        text.append(f"  {'the compiler':20} {found['reason']}")
    return "\n".join(text)


def verdict(found: dict[str, Any]) -> str:
    """Of a plan or a remedy: ``fits``, ``does not fit``, or ``compiler crashed``, which tells nothing about memory."""
    if found["fits"]:
        return "fits"
    return "compiler crashed" if found.get("crashed") else "does not fit"


def advice(found: dict[str, Any]) -> list[str]:
    """What would fit in place of what does not."""
    if found["fits"]:
        return []
    batch, text = found.get("largest_batch"), []
    if batch is None:
        text.append(found["reason"])
    else:
        smaller = f"batch {batch['fits']:,} fits" if batch["fits"] else "no batch was seen to fit"
        failed = "crashes the compiler" if batch.get("crashed") else "does not"
        text.append(f"{smaller} ({batch['fails']:,} {failed})")
    for remedy in found["remedies"]:
        flags = " ".join(f"{name}={value}" for name, value in remedy["overrides"].items())
        used = f", {size(remedy['total'])}" if remedy["total"] else ""
        text.append(f"{flags}: {verdict(remedy)}{used}")
    if together(found) > 1:
        text.append("fewer cells at once (--together) have more devices each")
    return text


def page(plans: Sequence[dict[str, Any]]) -> str:
    """All plans, one table for each config and batch."""
    text, groups = [HEAD], {}
    for plan in plans:
        made = command(plan)
        groups.setdefault((plan["config"], plan["batch_size"], made), []).append(plan)
    for (config, batch, made), rows in sorted(groups.items()):
        any_row = rows[0]
        usual = "".join(f", {name}={value}" for name, value in any_row["switches"].items())
        usual += f", {together(any_row)} cells at once" if together(any_row) > 1 else ""
        text.append(f"## {config}, batch {batch:,}{usual} ({any_row['model']})\n")
        text.append(
            f"{any_row['candidates']:,} candidates for each anchor; {any_row['training_images']:,} training images. "
            f"`{made}`\n"
        )
        if batch > any_row["training_images"]:
            text.append(
                "The batch is larger than the training set, so `pretrain` refuses it: a plan of memory only.\n"
            )
        text += table(sorted(rows, key=lambda row: (row["topology"].split(":")[0], row["devices"])))
    return "\n".join(text)


def command(plan: dict[str, Any]) -> str:
    """What made a row, but for the topology."""
    flags = [f"--config={plan['config']}", f"--config.train.batch_size={plan['batch_size']}"]
    flags += [f"--config.{name}={value}" for name, value in plan["switches"].items()]
    flags += [f"--together={together(plan)}"] if together(plan) > 1 else []
    return shlex.join(["python", "main.py", "plan", *flags, "--topology=..."])


def together(plan: dict[str, Any]) -> int:
    """Cells that step at once; plans from before there was a choice do not say that it is one."""
    return plan.get("together", 1)


def _cells(plan: dict[str, Any]) -> str:
    return f"one of {together(plan)} cells, " if together(plan) > 1 else ""


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each topology, and what to do about those that do not fit."""
    names = ["topology", "images / anchors per device", "fits", *KINDS, "together", "communicated"]
    names += ["flops", "estimate of a step", "compiled in", "jax"]
    text = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in rows:
        memory = row["memory"]
        moved = sum(kind["size"] for kind in row["collectives"])
        cells = [
            row["topology"],
            f"{row['images_per_device']:,} / {row['anchors_per_device']:,}",
            {"fits": "yes", "does not fit": "**no**"}.get(verdict(row), "unknown"),
            *(size(memory[kind]) if memory[kind] or row["fits"] else "" for kind in KINDS),
            size(memory["total"]) if memory["total"] else "",
            size(moved) if row["fits"] else "",
            f"{row['work']['flops']:.3g}",
            _estimate(row),
            f"{row['compile_seconds']:.0f} s",
            row["jax"],
        ]
        text.append("| " + " | ".join(cells) + " |")
    text.append("")
    for row in rows:
        if not row["fits"]:
            text.append(f"- {row['topology']}: {'; '.join(advice(row))}.")
    return [*text, ""]


def size(count: float) -> str:
    """Bytes in the unit that suits."""
    for unit, scale in (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f} B"


def _estimate(found: dict[str, Any]) -> str:
    times = found["estimate"]
    if times is None:
        return "none: no published rates"
    bound = max(
        (name for name in times if name not in ("step", "source")), key=lambda name: times[name]
    )
    return f"≥ {1e3 * times['step']:.3g} ms ({bound})"
