"""Objects of S3, and of stores that speak its language: every change is made under its condition, in one step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.conditions import Changed, Condition, Source
from schemas.uploads import in_time

_PART = 64 << 20
"""Bytes of a part of a large object: S3 takes 10,000 parts, so objects of 600 GB."""
_ONE_REQUEST = 2 * _PART
_LARGEST_COPY = 5 << 30
"""Bytes that S3 copies in one request."""
_RUN = "run"
"""Metadata of an object: the run that put it."""


class S3Objects:
    """As `schemas.conditions.Objects` says.

    Args:
        fs: s3fs's file system.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def etag(self, path: str) -> str | None:
        """The object's tag; None if there is none."""
        tag, _ = self._seen(path)
        return tag

    def is_of(self, path: str, run: str) -> bool:
        """Whether a run has put the object."""
        return self._seen(path)[1] == run

    def put(self, path: str, content: bytes | Path, condition: Condition) -> str:
        """Put bytes, or a file's, in one step; gives the new tag."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size

        def put(**match: str) -> str:
            if isinstance(content, bytes) or size <= _ONE_REQUEST:
                body = content if isinstance(content, bytes) else content.read_bytes()
                return str(self._call("put_object", path, size, Body=body, **self._by(condition), **match)["ETag"])
            return self._put_parts(path, content, condition, match)

        return self._if(put, path, condition)

    def copy(self, source: Source, new: str, condition: Condition) -> None:
        """Copy an object in one step."""
        bucket, key, _ = self._fs.split_path(source.path)
        what = {"CopySource": {"Bucket": bucket, "Key": key}, "CopySourceIfMatch": source.etag}

        def copy(**match: str) -> str:
            if self.etag(source.path) != source.etag:
                raise Changed(source.path)
            if source.size > _LARGEST_COPY:
                return self._copy_parts(new, source.size, what, condition, match)
            more = {"MetadataDirective": "REPLACE", **self._by(condition), **match}
            self._call("copy_object", new, source.size, **what, **more)
            return ""

        self._if(copy, new, condition)

    def delete(self, path: str, condition: Condition) -> None:
        """Delete an object; nothing if there is none."""
        etag, run = self._seen(path)
        if etag is None:
            return
        if etag != condition.etag and run != condition.run:
            raise Changed(path)
        try:
            self._call("delete_object", path, 0, IfMatch=etag)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Changed(path) if _is_refusal(error) else error from None

    def _if(self, change: Callable[..., str], path: str, condition: Condition) -> str:
        """Make a change under the condition; what lies there instead may be this run's own, put a moment ago."""
        try:
            return change(**({"IfMatch": condition.etag} if condition.etag else {"IfNoneMatch": "*"}))
        except FileNotFoundError:
            if condition.etag is None:
                raise
        except OSError as error:
            if not _is_refusal(error):
                raise
        etag, run = self._seen(path)
        if etag is not None and run != condition.run:
            raise Changed(path)
        return self._if(change, path, Condition(etag, condition.run))

    def _seen(self, path: str) -> tuple[str | None, str | None]:
        """An object's tag, and the run that put it."""
        try:
            head = self._call("head_object", path, 0)
        except FileNotFoundError:
            return None, None
        return str(head["ETag"]), head.get("Metadata", {}).get(_RUN)

    def _by(self, condition: Condition) -> dict[str, Any]:
        return {"Metadata": {_RUN: condition.run}}

    def _call(self, method: str, path: str, size: int, **more: Any) -> Any:
        bucket, key, _ = self._fs.split_path(path)
        call = in_time(self._fs, self._fs.call_s3, method, what=path, size=size, Bucket=bucket, Key=key, **more)
        self._fs.invalidate_cache(path)
        return call

    def _put_parts(self, path: str, content: Path, condition: Condition, match: dict[str, str]) -> str:
        with content.open("rb") as file:

            def part(upload: dict[str, Any]) -> str:
                body = file.read(_PART)
                return str(self._call("upload_part", path, len(body), Body=body, **upload)["ETag"])

            return self._in_parts(path, -(-content.stat().st_size // _PART), part, condition, match)

    def _copy_parts(
        self, new: str, size: int, source: dict[str, Any], condition: Condition, match: dict[str, str]
    ) -> str:
        def part(upload: dict[str, Any]) -> str:
            first = (upload["PartNumber"] - 1) * _PART
            piece = {"CopySourceRange": f"bytes={first}-{min(first + _PART, size) - 1}"}
            answer = self._call("upload_part_copy", new, _PART, **source, **piece, **upload)
            return str(answer["CopyPartResult"]["ETag"])

        return self._in_parts(new, -(-size // _PART), part, condition, match)

    def _in_parts(
        self,
        path: str,
        count: int,
        part: Callable[[dict[str, Any]], str],
        condition: Condition,
        match: dict[str, str],
    ) -> str:
        """An object becomes one, under the condition, with the last request."""
        upload = self._call("create_multipart_upload", path, 0, **self._by(condition))["UploadId"]
        try:
            tags = [part({"UploadId": upload, "PartNumber": number + 1}) for number in range(count)]
            parts = [{"PartNumber": number + 1, "ETag": tag} for number, tag in enumerate(tags)]
            whole = {"UploadId": upload, "MultipartUpload": {"Parts": parts}}
            return self._complete(path, whole, condition, match)
        except BaseException:
            with contextlib.suppress(Exception):  # what went wrong before is told; the store's own rule sweeps uploads
                self._call("abort_multipart_upload", path, 0, UploadId=upload)
            raise

    def _complete(self, path: str, whole: dict[str, Any], condition: Condition, match: dict[str, str]) -> str:
        try:
            return str(self._call("complete_multipart_upload", path, 0, **whole, **match)["ETag"])
        except FileNotFoundError:  # the upload has ended: perhaps well, and the answer was lost
            etag, run = self._seen(path)
            if etag is None or etag == condition.etag or run != condition.run:
                raise
            return etag


def _is_refusal(error: OSError) -> bool:
    """Whether a store did not make a change because its condition did not hold."""
    cause = getattr(error.__cause__, "response", {})
    code = str(cause.get("Error", {}).get("Code", ""))
    return isinstance(error, FileExistsError) or code in ("PreconditionFailed", "ConditionalRequestConflict", "412")
