# SPDX-License-Identifier: GPL-2.0-only
"""The machinery behind the table of settings: one `Setting` is one row, the rest is derived.

A subclass of Options is such a table (settings.py). It is read by attribute,
typed; `load` fills it from a file and the command line, and keeps what the
administrator should hear about in `warnings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, NoReturn, Self, TypeVar, overload

from mcelogd.config import GLOBAL, Config, ConfigError, place, printable, quoted
from mcelogd.values import UnknownName, nearest, parse_bool, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

COMMAND_LINE = "command line"
DEFAULT = "default"


class ConfigWarning(NamedTuple):
    """Something in a file that is probably not meant so; `str()` is one line."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{place(self.file, self.line)}: {self.text}"


class Command(NamedTuple):
    """A long option that says what to do instead of how; not for the file."""

    name: str
    help: str
    ours: bool = False


class Alias(NamedTuple):
    """Another long option for a setting.

    `value` is the setting's text that it stands for, or turns its own
    argument into that text (and may raise ValueError). In the file an alias
    without argument counts when it is `yes`. One without help is not in
    `--help`.
    """

    name: str
    value: str | Callable[[str], str]
    help: str = ""
    metavar: str = ""


class Given(NamedTuple):
    """What was written for a setting: under which name, what, where."""

    name: str
    text: str
    file: str
    line: int = 0


class Value(NamedTuple):
    """What a setting is: its text (None: not set), the value, and where it is from.

    `origin` is `file:line`, COMMAND_LINE or DEFAULT.
    """

    text: str | None
    value: object
    origin: str


class Setting(Generic[T]):
    """One row of the table.

    `name` is the option's name in `section` of the file, `parse` makes its
    value and raises ValueError. `metavar` names its argument on the command
    line. `cli` says that it is a long option, `ours` that the C program has
    no such thing, `in_file` that the file may have it. With `or_default` an
    unknown user or group leaves the default, with a warning, instead of
    stopping the start.
    """

    def __init__(
        self,
        section: str,
        name: str,
        parse: Callable[[str], T],
        default: T,
        help: str,
        *,
        metavar: str = "",
        cli: bool = False,
        ours: bool = False,
        in_file: bool = True,
        or_default: bool = False,
        aliases: tuple[Alias, ...] = (),
    ) -> None:
        self.section = section
        self.name = name
        self.parse = parse
        self.default = default
        self.help = help
        self.metavar = metavar
        self.cli = cli
        self.ours = ours
        self.in_file = in_file
        self.or_default = or_default
        self.aliases = aliases

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: Options, owner: type) -> T: ...
    def __get__(self, instance: Options | None, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        return instance.values[self.name].value  # type: ignore[return-value]  # made by self.parse

    def __set__(self, instance: Options, value: NoReturn) -> NoReturn:
        raise AttributeError(f"the setting {self.name} cannot be changed")

    @property
    def title(self) -> str:
        """How messages name it."""
        return self.name if self.section == GLOBAL else f"[{self.section}] {self.name}"

    @property
    def spellings(self) -> tuple[Alias, ...]:
        """Every name it can be given by, its own first; where several are, the last counts."""
        return (Alias(self.name, str, self.help, self.metavar), *self.aliases)

    def read(self, config: Config) -> T:
        """The value in the file, the rest of the file unseen; raises ConfigError."""
        given = self.in_config(config)
        try:
            return self.value_of(given) if given else self.default
        except UnknownName:
            return self.default

    def in_config(self, config: Config) -> Given | None:
        """What the file says; None for nothing. Raises ConfigError."""
        found = None
        for spelling in self.spellings if self.in_file else ():
            entry = config.find(self.section, spelling.name)
            if entry is not None:
                given = Given(spelling.name, entry.value, config.file, entry.line)
                found = _resolve(spelling, given) or found
        return found

    def value_of(self, given: Given) -> T:
        """Parse; raises ConfigError, and UnknownName for a user or group that leaves the default."""
        try:
            return self.parse(given.text)
        except ValueError as error:
            if self.or_default and isinstance(error, UnknownName):
                raise
            raise _error(self, given, error) from error


class Options:
    """Base of a table: its class body is the rows."""

    rows: tuple[Setting[object], ...] = ()
    by_name: Mapping[str, tuple[Setting[object], Alias]] = {}
    """Every spelling, with the row it is of."""
    commands: tuple[Command, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.rows = tuple(row for row in vars(cls).values() if isinstance(row, Setting))
        cls.by_name = {spelling.name: (row, spelling) for row in cls.rows for spelling in row.spellings}

    def __init__(self, values: dict[str, Value], warnings: Iterable[ConfigWarning]) -> None:
        self.values = values
        self.warnings = tuple(warnings)

    @classmethod
    def load(cls, config: Config | None = None, overrides: Mapping[str, str | None] | None = None) -> Self:
        """Settings from a file, overridden by the command line, the rest by default.

        `overrides` maps option names (without dashes) to their argument, None
        for a flag; the later of two that mean the same setting counts. Raises
        ConfigError for a value that cannot be parsed, KeyError for an
        override that is no option's name.
        """
        config = config or Config("")
        given = {row.name: found for row in cls.rows if (found := row.in_config(config))}
        given |= cls._from_command_line(overrides or {})
        warnings = list(check(cls, config))
        values = {row.name: _value(row, given.get(row.name), warnings) for row in cls.rows}
        return cls(values, sorted(warnings, key=lambda warning: warning.line))

    @classmethod
    def long_options(cls) -> list[str]:
        """Every long option that is not a command, as getopt.gnu_getopt takes them."""
        spellings = [spelling for row in cls.rows if row.cli for spelling in row.spellings]
        return [spelling.name + "=" * bool(spelling.metavar) for spelling in spellings]

    @classmethod
    def overrides(cls, options: Iterable[tuple[str, str]]) -> dict[str, str | None]:
        """What getopt found, less the commands, as `overrides` of `load`: in the order of last use."""
        found: dict[str, str | None] = {}
        for option, argument in options:
            name = option.removeprefix("--")
            if name in cls.by_name:
                found.pop(name, None)
                found[name] = argument if cls.by_name[name][1].metavar else None
        return found

    @classmethod
    def command_names(cls) -> list[str]:
        """Every long option that is a command; none takes an argument."""
        return [command.name for command in cls.commands]

    def describe(self) -> Iterator[str]:
        """The values in effect, as a file that sets them would say it, each with where it is from."""
        section = ""
        for row in self.rows:
            if row.section != section:
                section = row.section
                yield f"[{section}]"
            if row.in_file:
                text, _, origin = self.values[row.name]
                shown = f"#{row.name} =" if text is None else f"{row.name} = {printable(text)}"
                yield f"{shown:<44} # {'not set' if text is None else origin}"

    @classmethod
    def _from_command_line(cls, overrides: Mapping[str, str | None]) -> dict[str, Given]:
        given = {}
        for name, text in overrides.items():
            row, spelling = cls.by_name[name]
            found = _resolve(spelling, Given(name, "yes" if text is None else text, COMMAND_LINE))
            if found:
                given[row.name] = found
        return given


def check(table: type[Options], config: Config) -> Iterator[ConfigWarning]:
    """What in the file has no effect, or another effect than it looks like."""
    if config.problem:
        yield ConfigWarning(config.file, 0, f"cannot be read, so defaults are used: {config.problem}")
    sections = {GLOBAL, *(row.section for row in table.rows)}
    for header in config.headers:
        if header.section not in sections:
            hint = nearest(header.section.strip(), sorted(sections))
            text = f"unknown section {quoted(f'[{header.section}]')}, all in it is ignored{hint}"
            yield ConfigWarning(config.file, header.line, text)
    first: dict[tuple[str, str], int] = {}
    for entry in config.entries:
        line = first.setdefault((entry.section, entry.name), entry.line)
        if entry.section not in sections:
            continue
        text = _misplaced(table, entry.section, entry.name)
        if not text and line != entry.line:
            text = f"{quoted(entry.name)} is already set on line {line}, and the first counts"
        if text:
            yield ConfigWarning(config.file, entry.line, text)
    yield from _contradictions(table, config)


def _misplaced(table: type[Options], section: str, name: str) -> str:
    """Why an option of that name in that section is a mistake; empty when it is none."""
    if name in table.command_names():
        return f"{quoted(name)} is a command, for the command line only; it is ignored here"
    if name not in table.by_name:
        here = [known for known, (row, _) in table.by_name.items() if row.section == section and row.in_file]
        hint = nearest(name, here) or nearest(name, list(table.by_name))
        return f"unknown option {quoted(name)}, ignored{hint}"
    row, _ = table.by_name[name]
    if not row.in_file:
        return f"{quoted(name)} is for the command line only; it is ignored here"
    if row.section == section:
        return ""
    if section == GLOBAL:
        return f"{quoted(name)} belongs in [{row.section}]; here it counts unless it is set there too"
    home = "above the first section or in [global]" if row.section == GLOBAL else f"in [{row.section}]"
    return f"{quoted(name)} has no effect in [{section}]; it belongs {home}"


def _contradictions(table: type[Options], config: Config) -> Iterator[ConfigWarning]:
    """Options that mean the same setting and are both given."""
    for row in table.rows:
        counts = row.in_config(config) if row.aliases else None
        for spelling in row.spellings if counts else ():
            entry = config.find(row.section, spelling.name)
            given = entry and _resolve(spelling, Given(spelling.name, entry.value, config.file, entry.line))
            if counts and given and given.text != counts.text:
                text = f"{quoted(spelling.name)} is overruled by {quoted(counts.name)} on line {counts.line}"
                yield ConfigWarning(config.file, given.line, text)


def _resolve(spelling: Alias, given: Given) -> Given | None:
    """What was given, as the setting's own text; None for a flag that is switched off."""
    try:
        if not isinstance(spelling.value, str):
            return given._replace(text=spelling.value(given.text))
        return given._replace(text=spelling.value) if parse_bool(given.text) else None
    except ValueError as error:
        raise _error(None, given, error) from error


def _value(row: Setting[object], given: Given | None, warnings: list[ConfigWarning]) -> Value:
    if given is None:
        return Value(text_of(row.default), row.default, DEFAULT)
    origin = place(given.file, given.line)
    try:
        return Value(given.text, row.value_of(given), origin)
    except UnknownName as error:
        text = f"{row.title} = {quoted(given.text)}: {error}; this counts as not set"
        warnings.append(ConfigWarning(given.file, given.line, text))
        return Value(text_of(row.default), row.default, DEFAULT)


def _error(row: Setting[T] | None, given: Given, error: ValueError) -> ConfigError:
    title = row.title if row and row.name == given.name else given.name
    if given.file == COMMAND_LINE:
        return ConfigError(given.file, 0, f"--{given.name} {quoted(given.text)}: {error}")
    return ConfigError(given.file, given.line, f"{title} = {quoted(given.text)}: {error}")
