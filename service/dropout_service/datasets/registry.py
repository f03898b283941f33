"""``DatasetRegistry``: datasets in the database, their content in the blob store."""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from sqlalchemy import Text, cast, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from dropout_service.budgets import Budgets
from dropout_service.database.clock import now_s
from dropout_service.database.engine import reading, writing
from dropout_service.datasets.dataset import AS_IT_IS, Dataset, TableSchema
from dropout_service.datasets.scan import detect_format, scan
from dropout_service.datasets.tables import datasets
from dropout_service.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from sqlalchemy import Connection, Engine, Select

    from dropout_service.blobs import BlobStore
    from dropout_service.datasets.dataset import CsvOptions, DatasetFormat

    Scan = Callable[[Path, DatasetFormat, Budgets, CsvOptions], TableSchema]

__all__ = ["DatasetRegistry", "Upload", "key_of"]

_ID_DIGITS: Final = 32
_DISTINCT_DIGITS: Final = 8
_LISTED_CHARS: Final = 1 << 22
"""Characters of the descriptions of listed datasets together; each takes some 30 bytes while it is answered."""


_WITH_OPTIONS: Final = "csv+options"
"""Stored as the format of a CSV file with options, so that an earlier version, which would not see them, leaves it."""
_WITH_DIALECT: Final = "csv+dialect"
"""The same for those that came later: a version that reads the others leaves these."""


def _anything(_schema: TableSchema) -> None:
    """Accept every table."""


class Upload:
    """Content on its way into the registry, hashed as it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.size_bytes = 0
        self._hash = hashlib.sha256()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Add to the content."""
        self._hash.update(chunk)
        self.size_bytes += self.file.write(chunk)

    @property
    def digest(self) -> str:
        """``sha256:`` and the digest of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"


class DatasetRegistry:
    """Content-addressed datasets.

    Parameters
    ----------
    engine
        The database.
    blobs
        Where the content goes.
    budgets
        Bounds of what a table may hold.
    scan
        Looks through what is uploaded, as ``datasets.scan.scan`` does, such as ``Reader.scan``.
    """

    def __init__(self, engine: Engine, blobs: BlobStore, budgets: Budgets | None = None, *, scan: Scan = scan) -> None:
        self._scan = scan
        self._engine = engine
        self._blobs = blobs
        self._budgets = budgets or Budgets()

    @contextmanager
    def upload(self) -> Generator[Upload]:
        """Open an upload, to be written and then given to ``add``; if it is not, nothing of it stays."""
        with self._blobs.scratch() as file:
            yield Upload(file)

    def add(
        self,
        upload: Upload,
        *,
        name: str | None = None,
        format: DatasetFormat | None = None,  # noqa: A002 - the field's word
        options: CsvOptions = AS_IT_IS,
        accept: Callable[[TableSchema], None] = _anything,
        scan: Scan | None = None,
    ) -> tuple[Dataset, bool]:
        """Look through the content and keep it.

        Parameters
        ----------
        upload
            The content, written completely.
        name
            A name for people. Default: the id.
        format
            What the content is said to be. Default: what it looks like.
        options
            How a CSV file is read: the same content read in another way is another dataset.
        accept
            Called with what is in it, before anything is kept; nothing is if it raises.
        scan
            Looks through it in place of the registry's.

        Returns
        -------
        dataset
            The new dataset, or the one that has the same content, with the name that it got first; its content is
            stored again if it was lost.
        created
            Whether it is new.

        Raises
        ------
        InvalidInputError
            The content is not what it should be.
        OverBudgetError
            It has too many columns, or unpacks to too much.
        """
        digest = upload.digest
        dataset_id = _id_of(digest, options)
        known = self._find(dataset_id)
        if known is not None and self._has_content(known):
            accept(known.schema)
            return known, False
        upload.file.flush()
        path = Path(upload.file.name)
        found = detect_format(path)
        if format is not None and format != found:
            raise InvalidInputError(f"the content is said to be {format}, but it looks like {found}")
        schema = (scan or self._scan)(path, found, self._budgets, options)
        accept(schema)
        # A key of its own for each upload: a dataset that is deleted and uploaded at the same time either keeps
        # its blob or has none, never a row without a blob. The row decides which upload counts.
        blob_key = f"datasets/{dataset_id}/{secrets.token_hex(8)}"
        self._blobs.put_file(blob_key, upload.file)
        row = {
            "id": dataset_id,
            "name": name or dataset_id,
            "format": _stored_format(found, schema.options),
            "size_bytes": upload.size_bytes,
            # The same content with other options is another row, and digests are unique.
            "digest": digest if options == AS_IT_IS else f"{digest}+{dataset_id[-_DISTINCT_DIGITS:]}",
            "schema": schema.to_json(),
            "blob_key": blob_key,
        }
        while not (created := self._insert(row)):
            known = self._find(dataset_id)
            if known is None:  # deleted between the two
                continue
            if self._has_content(known):  # the same content was uploaded meanwhile
                self._blobs.discard(blob_key)
                return known, False
            if self._replace_content(known, blob_key):
                return replace(known, blob_key=blob_key), False
        return _dataset({**row, "created_at": created}), True

    def _has_content(self, known: Dataset) -> bool:
        """Whether the content is still stored: a disk may have lost it, or a person removed it."""
        try:
            return self._blobs.size(known.blob_key) == known.size_bytes
        except NotFoundError:
            return False

    def _replace_content(self, known: Dataset, blob_key: str) -> bool:
        """Let another blob be the content; ``False`` when the dataset is gone, or was given another one meanwhile."""
        unchanged = (datasets.c.id == known.id) & (datasets.c.blob_key == known.blob_key)
        with writing(self._engine) as connection:
            replaced = connection.execute(update(datasets).where(unchanged).values(blob_key=blob_key)).rowcount == 1
        if replaced:
            self._blobs.discard(known.blob_key)
        return replaced

    def _insert(self, row: dict[str, Any]) -> float | None:
        """Insert a row; return when that was, or ``None`` if there is one with the same id."""
        statement = insert(datasets).values(**row, created_at=now_s()).returning(datasets.c.created_at)
        try:
            with writing(self._engine) as connection:
                return connection.execute(statement).scalar_one()
        except IntegrityError:
            return None

    def add_content(
        self,
        content: bytes | memoryview,
        *,
        name: str | None = None,
        accept: Callable[[TableSchema], None] = _anything,
    ) -> Dataset:
        """Keep content that this service has written itself, such as arrays given in place; see ``add``."""
        with self.upload() as upload:
            upload.write(content)
            dataset, _ = self.add(upload, name=name, accept=accept, scan=scan)
        return dataset

    def get(self, dataset_id: str) -> Dataset:
        """Find a dataset.

        Raises
        ------
        NotFoundError
            There is none with this id.
        """
        dataset = self._find(dataset_id)
        if dataset is None:
            raise _no_such(dataset_id)
        return dataset

    def list(self, *, limit: int, after: str | None = None) -> list[Dataset]:
        """List up to ``limit`` datasets, the newest first, that come after the one of the key ``after`` (`key_of`)."""
        query = _newest_first(select(datasets), limit, after)
        with reading(self._engine) as connection:
            return [_dataset(row) for row in connection.execute(query).mappings()]

    def fitting(self, *, limit: int, after: str | None = None) -> int:
        """Return how many of the datasets that `list` gives fit into one response: schemas may be large.

        One always does.
        """
        sizes = _newest_first(select(func.length(cast(datasets.c.schema, Text))), limit, after)
        with reading(self._engine) as connection:
            together = accumulate(connection.execute(sizes).scalars())
            return max(1, sum(size <= _LISTED_CHARS for size in together))

    def hold(self, connection: Connection, dataset_id: str) -> None:
        """Keep a dataset from being deleted until a transaction ends, such as one that begins to use it.

        Raises
        ------
        NotFoundError
            There is none with this id any more.
        """
        held = select(datasets.c.id).where(datasets.c.id == dataset_id).with_for_update(read=True)
        if connection.execute(held).first() is None:
            raise _no_such(dataset_id)

    def delete(self, dataset_id: str, *, in_transaction: Callable[[Connection], None] | None = None) -> None:
        """Remove a dataset and its content.

        Parameters
        ----------
        dataset_id
            The dataset.
        in_transaction
            Called in the transaction, when nobody holds the dataset; the dataset stays if it raises.

        Raises
        ------
        NotFoundError
            There is none with this id.
        """
        this = datasets.c.id == dataset_id
        with writing(self._engine) as connection:
            # Whoever holds it is waited for here, so that the next statement sees what they have committed.
            locked = select(datasets.c.blob_key).where(this).with_for_update()
            blob_key = connection.execute(locked).scalar_one_or_none()
            if blob_key is None:
                raise _no_such(dataset_id)
            if in_transaction is not None:
                in_transaction(connection)
            connection.execute(datasets.delete().where(this))
        self._blobs.discard(blob_key)

    def _find(self, dataset_id: str) -> Dataset | None:
        with reading(self._engine) as connection:
            row = connection.execute(select(datasets).where(datasets.c.id == dataset_id)).mappings().one_or_none()
        return None if row is None else _dataset(row)


def _newest_first(query: Select[Any], limit: int, after: str | None) -> Select[Any]:
    query = query.order_by(datasets.c.created_at.desc(), datasets.c.id.desc()).limit(limit)
    return query if after is None else query.where(tuple_(datasets.c.created_at, datasets.c.id) < _position(after))


def _id_of(digest: str, options: CsvOptions) -> str:
    digits = digest.removeprefix("sha256:")
    if options != AS_IT_IS:
        dialect = replace(options, header=True, missing=()).to_json()
        meaning = json.dumps([digits, options.header, options.missing, *([dialect] if dialect else [])])
        digits = hashlib.sha256(meaning.encode()).hexdigest()
    return f"sha256-{digits[:_ID_DIGITS]}"


def _stored_format(found: DatasetFormat, options: CsvOptions) -> str:
    if options == AS_IT_IS:
        return found
    return _WITH_OPTIONS if replace(options, header=True, missing=()) == AS_IT_IS else _WITH_DIALECT


def _no_such(dataset_id: str) -> NotFoundError:
    return NotFoundError(f"there is no dataset `{dataset_id}`; GET /datasets lists them")


def key_of(dataset: Dataset) -> str:
    """Return the key by which a dataset has its place in lists."""
    return f"{dataset.created_at!r} {dataset.id}"


def _position(after: str) -> tuple[float, str]:
    created_at, _, dataset_id = after.partition(" ")
    try:
        return float(created_at), dataset_id
    except ValueError:
        raise InvalidInputError.at(
            "/cursor", "the cursor is not one of this list; take `next_cursor` of a page as it is"
        ) from None


def _dataset(row: Mapping[Any, Any]) -> Dataset:
    fields = dict(row)
    stored = fields.pop("schema")
    if fields["format"] in {_WITH_OPTIONS, _WITH_DIALECT}:
        fields |= {"format": "csv", "digest": fields["digest"].partition("+")[0]}
    try:
        return Dataset(**fields, schema=TableSchema.from_json(stored))
    except (TypeError, KeyError) as error:
        # One row that cannot be read must not hide the others.
        reason = f"its stored schema cannot be read ({error!r}); delete the dataset and upload it again"
        return Dataset(**fields, schema=TableSchema(rows=0, columns=(), target=""), unreadable=reason)
