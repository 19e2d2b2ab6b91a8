"""``metaexp completion SHELL``: the script with which bash, zsh or fish completes verbs, overrides and options."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from metaexp.cli.arguments import Parser, make_parser
from metaexp.core.terminal_text import print_text

_DESCRIPTION = """\
Print the script with which a shell completes verbs, choices of groups, keys and options of metaexp."""
_EXAMPLES = """\
set it up once:
  bash   echo 'eval "$(metaexp completion bash)"' >> ~/.bashrc
  zsh    echo 'eval "$(metaexp completion zsh)"' >> ~/.zshrc        (after compinit)
  fish   metaexp completion fish > ~/.config/fish/completions/metaexp.fish
"""
_BASH = """\
_metaexp() {
  local line="${COMP_LINE:0:COMP_POINT}" found
  mapfile -t found < <(metaexp completion --complete "$line" 2>/dev/null)
  # bash takes "=" for the end of a word, so what stands before it must not be repeated
  local word="${line##*[[:space:]]}" before=""
  [[ "$COMP_WORDBREAKS" == *=* && "$word" == *=* ]] && before="${word%=*}="
  COMPREPLY=("${found[@]#"$before"}")
  [[ ${#COMPREPLY[@]} -gt 0 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -o default -F _metaexp metaexp
"""
_ZSH = """\
#compdef metaexp
_metaexp() {
  local -a found
  found=("${(@f)$(metaexp completion --complete "${LBUFFER}" 2>/dev/null)}")
  found=("${(@)found:#}")
  if (( ${#found} )); then compadd -S '' -- "${found[@]}"; else _files; fi
}
compdef _metaexp metaexp
"""
_FISH = """\
function __metaexp_complete
  metaexp completion --complete (commandline -cp) 2>/dev/null
end
complete -c metaexp -a '(__metaexp_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""Shell -> the script for it."""

_WITH_OVERRIDES = ("train", "plan", "search", "wandb-sweep", "data", "evaluate")
_DATA_WORDS = ("list", "show", "verify", "prepare")
_KEY = re.compile(r"^( *)([A-Za-z_]\w*):(?: (.*))?$")
_MOST_BYTES = 500_000


class _Options(argparse.Namespace):
    shell: str | None
    complete: str | None


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp completion`` and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments, namespace=_Options())
    if options.complete is not None:
        print_text("".join(f"{text}\n" for text in complete(options.complete)), end="")
        return 0
    if options.shell is None:
        parser.error(f"give a shell: {', '.join(SCRIPTS)}")
    print_text(SCRIPTS[options.shell], end="")
    return 0


def complete(line: str) -> list[str]:
    """Return what the last word of a command line can become.

    Args:
        line: The line up to the cursor. It ends with a space where a new word begins.

    Returns:
        Whole words; none where files are to be completed, or nothing fits.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # within quotes
        return []
    last = "" if not words or line[-1].isspace() else words.pop()
    if len(words) < 2:
        from metaexp.cli.main import VERBS

        return [verb for verb in VERBS if verb.startswith(last)] if words else []
    verb = words[1]
    if last.startswith("-"):
        return [option for option in _options(verb) if option.startswith(last)]
    if verb == "completion":
        return [shell for shell in SCRIPTS if shell.startswith(last)]
    if verb == "data" and len(words) == 2:
        return [text for text in (*_DATA_WORDS, *_overrides(last, [])) if text.startswith(last)]
    if verb == "data" and len(words) == 3 and words[2] in _DATA_WORDS[1:] and "=" not in last:
        return [name for name in _choices(_folders(words), "dataset") if name.startswith(last)]
    if verb not in _WITH_OVERRIDES:
        return []
    return [text for text in _overrides(last, words[2:]) if text.startswith(last)]


def _options(verb: str) -> list[str]:
    """The options of a verb, read from its file: to import it takes longer than one waits for a completion."""
    from metaexp.cli.main import VERBS

    if verb not in VERBS:
        return []
    calls = _calls(VERBS[verb].function.partition(":")[0])
    if any(_name(call) == "make_parser" for call in calls):  # which adds some itself
        calls += _calls(make_parser.__module__)
    added = [call for call in calls if _name(call) == "add_argument" and not _is_hidden(call)]
    words = [str(word.value) for call in added for word in call.args if isinstance(word, ast.Constant)]
    return sorted({"--help", *(word for word in words if word.startswith("-"))})


def _calls(module: str) -> list[ast.Call]:
    """Every call in the file of a module of metaexp."""
    path = Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py")
    return [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]


def _name(call: ast.Call) -> str:
    """The name of what is called, without what it is an attribute of."""
    called = call.func
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _is_hidden(call: ast.Call) -> bool:
    """Whether ``add_argument`` adds an option that no help shows."""
    return any(isinstance(word.value, ast.Attribute) and word.value.attr == "SUPPRESS" for word in call.keywords)


def _overrides(last: str, words: Sequence[str]) -> list[str]:
    """Overrides that the word can become: ``GROUP=CHOICE`` after the equals sign, before it groups and keys."""
    folders = _folders(words)
    if "=" in last:
        group, _, value = last.partition("=")
        before, comma, _ = value.rpartition(",")
        return [f"{group}={before}{comma}{name}" for name in _choices(folders, group.lstrip("+"))]
    groups = sorted({path.name for folder in folders for path in _subfolders(folder)})
    return [*(f"{group}=" for group in groups), *(f"{key}=" for key in _keys(folders, words))]


def _folders(words: Sequence[str]) -> list[Path]:
    """The shipped configuration folder, and the user's own by option or environment."""
    given = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-cd", "--config-dir")]
    given += [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    given += [name] if (name := os.environ.get("METAEXP_CONFIG_DIR")) else []
    return [Path(str(resources.files("metaexp.conf"))), *(Path(name).expanduser() for name in given)]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir() and path.name.isidentifier()]
    except OSError:
        return []


def _choices(folders: Sequence[Path], group: str) -> list[str]:
    if not group.isidentifier():
        return []
    return sorted(
        {path.stem for folder in folders for path in (folder / group).glob("*.yaml") if path.stem != "__init__"}
    )


def _keys(folders: Sequence[Path], words: Sequence[str]) -> list[str]:
    """The keys of the root file, and of the files that the words choose."""
    found = dict.fromkeys(_keys_of(folders[0] / "config.yaml", ""))
    for word in words:
        group, _, choice = word.partition("=")
        if group.lstrip("+").isidentifier() and choice.isidentifier():
            for folder in folders:
                found |= dict.fromkeys(_keys_of(folder / group / f"{choice}.yaml", f"{group}."))
    return [key for key in found if not key.endswith("_")]


def _keys_of(path: Path, prefix: str) -> Iterator[str]:
    """The dotted keys of a YAML file, by its indents: reading YAML takes longer than one waits for a completion."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):
        return
    above: list[tuple[int, str]] = []
    for line in lines:
        match = _KEY.match(line)
        if match is None or (not match[1] and match[2] == "defaults"):
            above = [] if match is not None else above
            continue
        indent, key = len(match[1]), match[2]
        above = [item for item in above if item[0] < indent]
        value = (match[3] or "").partition(" #")[0].strip()
        if value:
            yield prefix + ".".join([*(name for _, name in above), key])
        else:
            above.append((indent, key))


def _parser() -> argparse.ArgumentParser:
    parser = Parser("completion", _DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("shell", nargs="?", choices=list(SCRIPTS), help="the shell that the script is for")
    parser.add_argument("--complete", metavar="LINE", help="print what the last word of a line can become")
    return parser
