"""The pages in a real browser: opened as a file, played, sorted, on a phone and on paper."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

from marlrobust.config import resolve
from marlrobust.evaluation.run import evaluate
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.files import read_sealed
from marlrobust.policies.library import Library
from marlrobust.recorded import Recorded, Replays
from marlrobust.reports.folder import write_report
from marlrobust.reports.replay import look
from marlrobust.reports.replay_files import save
from marlrobust.reports.tables import of
from tests.synthetic import RECORD, attacked, frame, rounds
from tests.test_again import SMALL

HOSTILE = "</script><img src=x onerror=alert(1)><b>&quot;"
PHONE, PAPER = 390, 688  # pixels: a phone, and A4 without its margins

PLAYER = "document.querySelector('.replay').player"

BEYOND = """width => [...document.querySelectorAll("main *")].filter(one => {
  const box = one.getBoundingClientRect();
  for (let up = one; up; up = up.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(up).overflowX)) return false;
  return box.width && box.right > width + 1;
}).map(one => `${one.tagName}.${one.className} ${one.textContent.slice(0, 40)}`)"""
"""What reaches beyond the window, and cannot be scrolled to."""


@dataclass
class Opened:
    """A page, and what it did that it should not."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def dismiss(self, dialog: Dialog) -> None:
        """A script of somebody else's has run."""
        self.wrong.append(dialog.message)
        dialog.dismiss()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Where there is none the tests fail: that a page works cannot be told without."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None and os.environ.get("MARLROBUST_NO_BROWSER"):
        pytest.skip("MARLROBUST_NO_BROWSER is set: the pages are not tested")
    if path is None:
        pytest.fail("no Chromium is found: install it (apt-get install chromium), or set MARLROBUST_NO_BROWSER=1")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small evaluation of two policies under two attacks, with its report."""
    out = tmp_path_factory.mktemp("browser")
    attacks = [{"name": "pgd", "parameters": {"steps": 2}}, {"name": "random"}]
    done = evaluate(resolve(SweepSettings, SMALL, {"attacks": attacks}), Library(runs), out, command="test", say=str)
    write_report(of(done.rows), out, done.record)
    return out


def opened(browser: Browser, path: Path, width: int = 1200, **how: Any) -> Opened:
    """The page by its file, with all that it asks for or complains about."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **how)
    made = Opened(page)
    page.on("pageerror", lambda error: made.wrong.append(str(error)))
    page.on("console", lambda said: made.wrong.append(said.text))
    page.on("request", lambda asked: made.wrong.extend([asked.url] * (not _own(asked.url, path))))
    page.on("dialog", made.dismiss)
    page.goto(path.as_uri())
    until(page, f"{PLAYER}.rounds.length > 0")
    return made


def until(page: Page, expression: str) -> None:
    """Wait until it is true. Playwright's own way to wait needs `eval`, which the page forbids."""
    for _ in range(100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"it never came true: {expression}")


def _own(url: str, path: Path) -> bool:
    return url == path.as_uri() or url.startswith(("data:", "blob:"))


def steps(page: Page) -> list[str]:
    """What stands below the boards."""
    return page.locator(".replay-board:visible .replay-state").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_as_a_file_and_asks_nobody(browser: Browser, folder: Path, scheme: Any) -> None:
    made = opened(browser, folder / "report.html", color_scheme=scheme)
    assert made.page.locator(".replay-board:visible").count() == 2
    made.page.wait_for_timeout(300)
    assert made.wrong == []
    drawn = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    for canvas in made.page.locator(".replay canvas:visible").all():
        assert canvas.evaluate(drawn) > 3, canvas.get_attribute("class")
    made.page.close()


def test_the_bytes_are_read_as_they_were_written(browser: Browser, folder: Path) -> None:
    made = opened(browser, folder / "report.html")
    told = made.page.evaluate(
        f"""{PLAYER}.rounds.map(round => ({{frames: round.frames, reward: round.reward, steps: round.steps,
        seen: [0, 1, round.steps].map(t => Object.fromEntries(
          Object.entries(round.at(t)).map(([name, values]) => [name, [...values]])))}}))"""
    )
    known = {one.packed: one for one in map(_read, (folder / "replays").glob("*.json"))}
    assert len(told) == 2
    for read in told:
        f = known[read["frames"]].frames
        assert read["steps"] == len(f.rewards)
        np.testing.assert_allclose(read["reward"][1:], f.rewards.cumsum(dtype=float), atol=1e-6)
        for at, seen in zip((0, 1, len(f.rewards)), read["seen"], strict=True):
            for name, values in seen.items():
                assert values == getattr(f, name)[at].tolist(), name
    made.page.close()


def _read(path: Path) -> Recorded:
    return Recorded.of(read_sealed(path))


def test_both_rounds_play_together(browser: Browser, folder: Path) -> None:
    made = opened(browser, folder / "report.html")
    page, last = made.page, made.page.evaluate(f"{PLAYER}.last")
    card = page.locator(".replay-card")
    card.focus()
    page.keyboard.press("Home")
    pictures = "[...document.querySelectorAll('.replay-field')].map(canvas => canvas.toDataURL())"
    before = page.evaluate(pictures)
    assert all(text.startswith("step 0 ") for text in steps(page))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert all(text.startswith("step 1 ") for text in steps(page))
    assert all(a != b for a, b in zip(before, page.evaluate(pictures), strict=True))
    page.locator(".replay-speed").select_option("15")
    page.locator(".replay-play").click()
    until(page, f"{PLAYER}.step > 3")
    page.locator(".replay-play").click()
    stopped = page.evaluate(f"{PLAYER}.step")
    page.wait_for_timeout(300)
    assert page.evaluate(f"{PLAYER}.step") == stopped < last
    assert all(text.startswith(f"step {stopped} ") for text in steps(page))
    page.keyboard.press("End")
    assert all("12 steps" in text for text in steps(page))
    page.locator(".replay-slider").fill("2")
    assert page.locator("output.replay-step").inner_text() == f"step 2 of {last}"
    first = page.locator(".replay-words").first.inner_text()
    page.locator(".replay-policy").select_option("RoMFAC")
    page.locator(".replay-attack").select_option(index=1)
    until(page, f"{PLAYER}.fresh")
    assert page.locator(".replay-words").first.inner_text() != first
    assert "random" in page.locator(".replay-words").nth(1).inner_text()
    assert made.wrong == []
    page.close()


def test_a_column_sorts(browser: Browser, folder: Path) -> None:
    made = opened(browser, folder / "report.html")
    table = made.page.locator("table.full").first
    head = table.locator("th", has_text="reward").first
    column = head.evaluate("head => head.cellIndex")
    values = f"table => [...table.tBodies[0].rows].map(row => Number(row.cells[{column}].dataset.sort))"
    head.get_by_role("button").click()
    up = table.evaluate(values)
    head.get_by_role("button").click()
    assert up == sorted(up)
    assert table.evaluate(values) == up[::-1] != up
    made.page.close()


@pytest.mark.parametrize("media", ["screen", "print"])
def test_nothing_is_cut_on_a_phone_or_on_paper(browser: Browser, folder: Path, media: Any) -> None:
    width = PHONE if media == "screen" else PAPER
    made = opened(browser, folder / "report.html", width)
    made.page.emulate_media(media=media)
    made.page.wait_for_timeout(200)
    assert made.page.evaluate(BEYOND, width) == []
    assert made.page.evaluate("document.documentElement.scrollWidth") <= width
    assert made.wrong == []
    made.page.close()


def test_paper_shows_a_still_picture_in_the_colours_of_paper(browser: Browser, folder: Path) -> None:
    """Also from a dark screen; afterwards everything is as it was."""
    made = opened(browser, folder / "report.html", color_scheme="dark")
    page = made.page
    page.locator(".replay-card").focus()
    page.keyboard.press("Home")
    corner = "c => [...c.getContext('2d').getImageData(2, 2, 1, 1).data].slice(0, 3)"
    dark, light = ([*bytes.fromhex(look()[name]["wall"][1:])] for name in ("dark", "light"))
    field = page.locator(".replay-field").first
    assert field.evaluate(corner) == dark
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert field.evaluate(corner) == light
    assert page.evaluate(f"{PLAYER}.step") > 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert field.evaluate(corner) == dark
    assert page.evaluate(f"{PLAYER}.step") == 0
    assert len(page.pdf()) > 10_000
    page.close()


def test_hostile_names_stay_text(browser: Browser, folder: Path, tmp_path: Path) -> None:
    own = {"policy": HOSTILE, "method": HOSTILE, "opponent": HOSTILE, "opponent_method": HOSTILE}
    rows = frame(*rounds([3.0, 4.0], **own), *attacked([1.0, 2.0], **own, attack=HOSTILE, victims=HOSTILE))
    cells = rows.drop_duplicates("cell")["cell"].tolist()
    replays = Replays(tmp_path, pytest.fail)
    for cell, count, path in zip(cells, (0, 8), sorted((folder / "replays").glob("*.json"))[:2], strict=True):
        one = _read(path)
        facts = one.facts.model_copy(update=own | {"cell": cell, "attack": HOSTILE, "attacked_agents": count})
        replays.write(Recorded(facts, one.round, (HOSTILE, HOSTILE), one.tested, one.stage, one.frames))
    write_report(of(rows), tmp_path, RECORD)
    made = opened(browser, tmp_path / "report.html")
    assert made.page.locator(".replay-board:visible").count() == 2
    assert HOSTILE in made.page.locator(".replay").inner_text()
    assert made.page.locator("img[src=x]").count() == 0
    assert made.wrong == []
    made.page.close()


def test_a_page_of_one_round_alone(browser: Browser, folder: Path, tmp_path: Path) -> None:
    clean = [one for one in map(_read, (folder / "replays").glob("*.json")) if not one.facts.attacked_agents]
    made = opened(browser, save(tmp_path / "one.html", clean[:1], 6), PHONE)
    assert made.page.locator(".replay-board:visible").count() == 1
    assert made.page.evaluate(BEYOND, PHONE) == []
    assert made.wrong == []
    made.page.close()
