"""Recorded rounds as files that play anywhere: a page, a GIF, a film."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from marlrobust.errors import UserError
from marlrobust.files import write_atomically, write_bytes
from marlrobust.recorded import Recorded
from marlrobust.reports import replay
from marlrobust.reports.replay_film import pictures

Drew = Callable[[int, int], object]
"""Told how many pictures are drawn, and of how many."""

KINDS = ("html", "gif", "mp4")


def save(path: Path, recorded: Sequence[Recorded], speed: float, drew: Drew = lambda done, total: None) -> Path:
    """Write one round, or a clean and an attacked one, to `path`, whose end says how: one of KINDS. Whole or not there.

    speed: steps per second, of a GIF or a film. Raises UserError where a film cannot be made.
    """
    if path.suffix == ".html":
        return write_bytes(path, replay.page(recorded).encode())
    total = 1 + max(len(one.frames.rewards) for one in recorded)
    film = _film if path.suffix == ".mp4" else _gif
    write_atomically(path, lambda temporary: film(temporary, _counted(pictures(recorded), total, drew), speed))
    return path


def _counted(drawn: Iterator[Image.Image], total: int, drew: Drew) -> Iterator[Image.Image]:
    for done, picture in enumerate(drawn, 1):
        drew(done, total)
        yield picture


def _gif(path: Path, drawn: Iterator[Image.Image], speed: float) -> None:
    """All pictures in the colours of the busiest of the first ones; the last stays for two seconds."""
    every = list(drawn)
    palette = every[len(every) // 2].quantize(64, dither=Image.Dither.NONE)
    first, *others = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in every)
    step = round(100 / speed) * 10  # a GIF counts in hundredths of a second
    durations = [max(step, 20)] * len(others) + [2000]
    first.save(path, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _film(path: Path, drawn: Iterator[Image.Image], speed: float) -> None:
    """H.264 in an MP4, as every browser plays it."""
    first = next(drawn)
    width, height = (side // 2 * 2 for side in first.size)  # the format takes even numbers alone
    command = [_ffmpeg(), "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(speed), "-i", "-", "-r", "30", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
    with subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            for picture in (first, *drawn):
                process.stdin.write(picture.crop((0, 0, width, height)).tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says itself what was wrong
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise UserError(f"ffmpeg could not make the film: {said.splitlines()[-1] if said else process.returncode}")


def _ffmpeg() -> str:
    """The program that makes films: the system's, or the one of imageio-ffmpeg. UserError where there is neither."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        raise UserError(
            "a film needs ffmpeg: install it, or 'pip install imageio-ffmpeg'; --gif needs neither"
        ) from None
    return str(get_ffmpeg_exe())
