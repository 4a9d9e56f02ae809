"""Find the local picture that a row means, in the official layout or with all pictures in one folder."""

from __future__ import annotations

from pipelines.lists.files import files_below


class PictureFolder:
    """A folder of pictures, listed once."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._paths = set(files_below(url))
        except ValueError as error:
            raise ValueError(f"--image_folder {error}") from None
        self._by_name: dict[str, str] = {}
        for path in sorted(self._paths, reverse=True):  # of several of one name the first counts
            self._by_name[path.rsplit("/", 1)[-1]] = path

    def find(self, *names: str) -> str | None:
        """Path in the folder of the first of these that is there: as a path, else by its file name alone."""
        for name in names:
            if name in self._paths:
                return name
        for name in names:
            if path := self._by_name.get(name.rsplit("/", 1)[-1]):
                return path
        return None
