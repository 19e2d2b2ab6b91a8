"""Files that are not examples: what systems add is not read, and images in other formats are not lost in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from small_image_folder import image_folder

from metaexp.core.errors import DataError
from metaexp.data.classification.preprocessing import ImagePreparation
from metaexp.data.files.folders import ignored_lines, images_by_folder
from metaexp.run.predict.new_examples import Reader

PLACE = Path("folder")


@pytest.mark.parametrize(
    "added",
    [
        "__MACOSX/a/0.png", "a/@eaDir/0.png/SYNOPHOTO_THUMB_S.jpg", "$RECYCLE.BIN/0.png", "#recycle/a/0.png",
        "a/._0.png", ".ipynb_checkpoints/0.png", "System Volume Information/0.png",
    ],
)  # fmt: skip
def test_folders_of_systems_are_not_classes(added: str) -> None:
    assert images_by_folder(["a/0.png", added]) == {"a": ["a/0.png"]}
    assert ignored_lines(["a/0.png", added], {}, PLACE) == ["Ignored in folder: 1 hidden file."]
    assert images_by_folder(["a/0.png", "recycle/0.png"]) == {"a": ["a/0.png"], "recycle": ["recycle/0.png"]}


def test_images_in_formats_that_are_not_read_bring_a_warning() -> None:
    ignored, warning = ignored_lines(["a/0.png", "a/1.HEIC", "a/2.heic", "a/3.dcm", "a/Thumbs.db"], {}, PLACE)
    assert ignored == (
        "Ignored in folder: 2 files with the suffix .heic, 1 file with the suffix .dcm, 1 file with the suffix .db."
    )
    assert warning == (
        "Warning: 1 file with the suffix .dcm, 2 files with the suffix .heic in folder may be images. Save them as PNG "
        "or TIFF to use them."
    )
    assert len(ignored_lines(["a/0.png", "a/notes.txt", "a/.hidden.heic"], {}, PLACE)) == 1
    assert ignored_lines(["a/0.JPG", "a/1.Tiff"], {}, PLACE) == []


def test_a_dataset_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for name in "abcd":
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "0.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no folders with images in them\. Ignored in .*Warning: 4 files .* \.heic"):
        image_folder().load(tmp_path, print)
    for number, name in enumerate("abcd"):
        Image.new("L", (8, 8), 60 * number).save(tmp_path / "images" / name / "1.png")
    lines: list[str] = []
    image_folder().load(tmp_path, lines.append)
    assert [line for line in lines if line.startswith("Warning: 4 files with the suffix .heic")]


def test_new_images_to_predict_are_not_lost_in_silence(tmp_path: Path) -> None:
    (tmp_path / "0.heic").write_bytes(b"x")
    lines: list[str] = []
    reader = Reader(ImagePreparation(channels=1, size=8), (1, 8, 8), False, "icons", lines.append)
    with pytest.raises(DataError, match=r"has 0 images; .*Save them as PNG"):
        reader.query(tmp_path)
    Image.linear_gradient("L").save(tmp_path / "1.png")
    assert reader.query(tmp_path).names == ["1.png"]
    assert [line.partition(":")[0] for line in lines] == [f"Ignored in {tmp_path}", "Warning"]
