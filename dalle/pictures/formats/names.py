"""What bytes are that are no picture which is read here: named, so that nobody has to guess from their first four."""

from __future__ import annotations

from dalle.pictures.faults import UndecodableImage

_PICTURES = (
    (0, b"8BPS", "a Photoshop picture (PSD)"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture (JP2)"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 code stream (J2K)"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL code stream"),
    (0, b"DDS ", "a DirectDraw texture (DDS)"),
    (0, b"\xabKTX ", "a Khronos texture (KTX)"),
    (0, b"PVR\x03", "a PowerVR texture (PVR)"),
    (0, b"\x13\xab\xa1\x5c", "an ASTC texture"),
    (0, b"qoif", "a QOI picture"),
    (0, b"farbfeld", "a farbfeld picture"),
    (0, b"v/1\x01", "an OpenEXR picture (EXR)"),
    (0, b"#?RADIANCE", "a Radiance picture (HDR)"),
    (0, b"#?RGBE", "a Radiance picture (HDR)"),
    (0, b"FLIF", "a FLIF picture"),
    (0, b"BPG\xfb", "a BPG picture"),
    (0, b"gimp xcf", "a GIMP picture (XCF)"),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster picture (RAS)"),
    (0, b"\x01\xda\x00", "an SGI picture (RGB)"),
    (0, b"\x01\xda\x01", "an SGI picture (RGB)"),
    (0, b"icns", "an Apple icon (ICNS)"),
    (0, b"\x8aMNG", "an MNG animation"),
    (0, b"\x8bJNG", "a JNG picture"),
    (0, b"II\xbc\x01", "a JPEG XR picture"),
    (0, b"IIRO", "an Olympus raw photograph (ORF)"),
    (0, b"IIU\0", "a Panasonic raw photograph (RW2)"),
    (0, b"FUJIFILMCCD-RAW", "a Fujifilm raw photograph (RAF)"),
    (4, b"ftypcrx ", "a Canon raw photograph (CR3)"),
    (0, b"\x97JB2\r\n", "a JBIG2 picture"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"SIMPLE  =", "a FITS picture"),
    (128, b"DICM", "a DICOM picture"),
    (0, b"! XPM", "an XPM picture"),
    (0, b"/* XPM", "an XPM picture"),
    (0, b"#define ", "an XBM picture"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)"),
    (40, b" EMF", "an enhanced metafile (EMF)"),
    (4, b"\x11\xaf", "a FLI animation"),
    (4, b"\x12\xaf", "a FLC animation"),
    *((0, start, "an OS/2 bitmap array or icon") for start in (b"BA", b"CI", b"CP", b"IC", b"PT")),
)
"""Where they begin, with what, and what they are."""
_OTHER = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"PK\x03\x04", "a ZIP file"),
    (0, b"Rar!", "a RAR file"),
    (0, b"7z\xbc\xaf", "a 7z file"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (0, b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (0, b"\0\0\1\xba", "an MPEG video"),
    (0, b"\0\0\1\xb3", "an MPEG video"),
    (0, b"FLV\1", "a Flash video"),
    (0, b"FWS", "a Flash film"),
    (0, b"CWS", "a Flash film"),
    (0, b"OggS", "an Ogg file"),
    (0, b"ID3", "an MP3 file"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
)
_IN_RIFF = {b"AVI ": "an AVI video", b"WAVE": "a WAVE sound", b"ACON": "an animated cursor (ANI)"}
_TGA_KINDS, _TGA_DEPTHS = {1, 2, 3, 9, 10, 11}, {8, 15, 16, 24, 32}


def what_it_is(data: bytes, *, quoted: bool = True) -> UndecodableImage:
    """Why nothing that is read here can be made of these bytes.

    Args:
        data: the whole file.
        quoted: whether its first bytes may be told, where nothing is known of them.
    """
    for at, start, name in _PICTURES:
        if data.startswith(start, at):
            return UndecodableImage("unsupported", f"{name}, which is not read")
    if data[:1] == b"P" and data[1:2] in b"1234567fF" and data[2:3].isspace():
        return UndecodableImage("unsupported", "a Netpbm picture (PBM, PGM, PPM, PNM, PAM or PFM), which is not read")
    if data[:4] in (b"\0\0\1\0", b"\0\0\2\0") and len(data) >= 6 and data[4:6] != b"\0\0":
        kind = "a Windows icon (ICO)" if data[2] == 1 else "a Windows cursor (CUR)"
        return UndecodableImage("unsupported", f"{kind}, which is not read")
    if data[:1] == b"\x0a" and data[1:2] in b"\0\2\3\4\5" and data[2:3] in b"\0\1" and data[3:4] in b"\1\2\4\x08":
        return UndecodableImage("unsupported", "a PCX picture, which is not read")
    if document := _document(data, quoted=quoted):
        return UndecodableImage("not-an-image", document)
    if _is_tga(data):
        return UndecodableImage("unsupported", "a Targa picture (TGA), which is not read")
    told = f"the bytes begin with {data[:12]!r}" if quoted else "the bytes are of no format that is known here"
    return UndecodableImage("not-an-image", told)


def is_web_page(data: bytes) -> bool:
    """Whether a file begins as HTML or XML does, such as a server's page or error in place of what was asked for."""
    return _first_text(data).startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body"))


def is_lfs_pointer(data: bytes) -> bool:
    """Whether a file is what Git has in place of a large one that nobody fetched."""
    return _first_text(data).startswith(b"version https://git-lfs.github.com/spec/")


def _first_text(data: bytes) -> bytes:
    return data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()


def _document(data: bytes, *, quoted: bool) -> str:
    if b"<svg" in data[:4096].lower():
        return "the bytes are SVG, a drawing program rather than a picture"
    if is_web_page(data):
        return "the bytes are a web page"
    if is_lfs_pointer(data):
        return "the bytes are a pointer of Git LFS; git lfs pull brings the picture"
    if _first_text(data).startswith((b"{", b"[{")):
        return "the bytes are JSON"
    if data[:4] == b"RIFF" and data[8:12] in _IN_RIFF:
        return f"the bytes are {_IN_RIFF[data[8:12]]}"
    if data[4:8] == b"ftyp":
        return "the bytes are a video (MP4 or QuickTime)"
    for at, first, name in _OTHER:
        if data.startswith(first, at):
            start = f": the bytes begin with {data[:12]!r}" if quoted and name == "PostScript" else ""
            return f"the bytes are {name}{start}"
    return ""


def _is_tga(data: bytes) -> bool:
    """By the mark at the end of newer files, or by a header in which nothing is out of place; it begins with none."""
    if data[-18:] == b"TRUEVISION-XFILE.\0":
        return True
    if len(data) < 19 or data[1] > 1 or data[2] not in _TGA_KINDS or data[16] not in _TGA_DEPTHS or data[17] & 0xC0:
        return False
    width, height = int.from_bytes(data[12:14], "little"), int.from_bytes(data[14:16], "little")
    colours = int.from_bytes(data[5:7], "little")
    has_map = data[1] == 1 and data[7] in (15, 16, 24, 32) and colours > 0
    return min(width, height) > 0 and (has_map or (data[1] == 0 and data[2] not in (1, 9)))
