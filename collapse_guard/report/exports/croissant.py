"""Manifest -> Croissant 1.1 (JSON-LD): files with digests, the index as records, provenance in PROV terms.

Croissant has words for files, records and provenance, none for shares, generations or accumulation: those stand under
the prefix ``cg``. Sources: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html and
https://www.w3.org/TR/prov-o/.
"""

from __future__ import annotations

import mimetypes
from copy import deepcopy
from dataclasses import dataclass
from glob import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from collapse_guard.manifest.figures import generators, origin_rows, real_share
from collapse_guard.readers import SUFFIXES
from collapse_guard.records import Evidence, Origin
from collapse_guard.report.exports.files import DataFileEntry, data_file_entries, part_entries, path_of

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest
    from collapse_guard.manifest.header import Header, SourceEntry
    from collapse_guard.report.exports.files import PartEntry

CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.1"
#: What the prefix ``cg`` stands for.
NAMESPACE: Final = "urn:collapse-guard:terms:"
#: Properties that Croissant requires and that no manifest knows.
REQUIRED: Final = ("license", "url", "creators", "published")

_CROISSANT_TERMS: Final = (
    "annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileProperty fileObject"
    " fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path readLines recordSet references"
    " regex repeated replace samplingRate sdVersion separator source subField transform unArchive value"
)
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "cg": NAMESPACE,
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS.split()},
}
_FORMATS: Final = {
    ".parquet": "application/x-parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".jsonl": "application/jsonlines",
    ".csv": "text/csv",
}


def _codes(words: type[Origin | Evidence]) -> str:
    return ", ".join(f"{int(word)} {word.name.lower()}" for word in words)


#: Column of the index -> data type and description.
_FIELDS: Final = {
    "id_hi": ("sc:Integer", "First half of the content id, 64 bits."),
    "id_lo": ("sc:Integer", "Second half of the content id, 64 bits."),
    "source": ("sc:Text", "Name of the source."),
    "origin": ("sc:Integer", f"Who made the row: {_codes(Origin)}."),
    "evidence": ("sc:Integer", f"How the origin is known: {_codes(Evidence)}."),
    "generation": ("sc:Integer", "Generations of models behind the row: 0 real, 255 unknown."),
    "class": ("sc:Text", "Class of the row, if there is one."),
    "generator": ("sc:Text", "Model that made the row, if one did."),
    "amount": ("sc:Float", "How much of the row trains, in the unit of the manifest; 0 if it is only retained."),
}


@dataclass(frozen=True, slots=True)
class Publication:
    """What Croissant asks for and no manifest knows; a property that is left out is left out of the export.

    Args:
        license: SPDX id or URL.
        url: page of the data set.
        creators: names of people or organisations.
        published: ISO date.
        citation: how to cite the data set, such as a BibTeX entry.
        description: in place of the one that the figures of the manifest give.
        data_url: folder or URL that the paths of data files are relative to.
    """

    license: str | None = None
    url: str | None = None
    creators: tuple[str, ...] = ()
    published: str | None = None
    citation: str | None = None
    description: str | None = None
    data_url: str | None = None

    def missing(self) -> tuple[str, ...]:
        """Return the required properties that are not given.

        >>> Publication(license="CC0-1.0", url="https://example.org").missing()
        ('creators', 'published')
        """
        return tuple(name for name in REQUIRED if not getattr(self, name))


def as_croissant(manifest: Manifest, publication: Publication | None = None) -> dict[str, Any]:
    """Return the Croissant description of a manifest on disk, to be written beside its header.

    Paths of index parts are relative to the folder of the header. Raises ManifestError for a manifest in memory and
    for parts that cannot be read.
    """
    given = publication or Publication()
    header, parts = manifest.header, part_entries(manifest)
    found: dict[str, Any] = {
        "@context": deepcopy(_CONTEXT),  # readers write into it
        "@type": "sc:Dataset",
        "@id": urn(manifest.digest),
        "conformsTo": CONFORMS_TO,
        "name": header.name,
        "description": given.description or _description(header),
        "license": given.license,
        "citeAs": given.citation,
        "url": given.url,
        "creator": [{"@type": "sc:Organization", "name": name} for name in given.creators],
        "datePublished": given.published,
        "dateCreated": header.created,
        "version": f"{header.generation}.0.0",
        **_provenance(header),
        **_own_figures(manifest),
        "distribution": [*_index_objects(manifest, parts), *_data_objects(header, given)],
        "recordSet": [_record_set(header)] if parts else [],
    }
    return _without_empty(found)


def urn(digest: str) -> str:
    """Return the name of a manifest in links.

    >>> urn("sha256:00ff")
    'urn:collapse-guard:manifest:sha256:00ff'
    """
    return f"urn:collapse-guard:manifest:{digest}"


def _without_empty(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value not in (None, [], {}, ())}


def _description(header: Header) -> str:
    shares = ", ".join(f"{rows} {origin}" for origin, rows in origin_rows(header).items())
    return f"Training set {header.name}, generation {header.generation}: {header.index.rows} rows ({shares})."


# ``prov:label`` is how the examples of Croissant name agents and activities, and what its readers look for.
def _agent(generator: str) -> dict[str, Any]:
    return {
        "@type": "prov:SoftwareAgent",
        "@id": f"urn:collapse-guard:generator:{quote(generator, safe='')}",
        "prov:label": generator,
    }


def _reference(node: dict[str, Any]) -> dict[str, Any]:
    return {"@id": node["@id"]}


def _generation_by(generator: str) -> dict[str, Any]:
    return {
        "@type": "prov:Activity",
        "@id": f"urn:collapse-guard:generation-by:{quote(generator, safe='')}",
        "prov:label": f"generation of rows by {generator}",
        "prov:wasAssociatedWith": _reference(_agent(generator)),
    }


def _provenance(header: Header) -> dict[str, Any]:
    """Return the data set's own provenance: parents, the writing of the manifest, generators."""
    written = {
        "@type": "prov:Activity",
        "prov:label": f"manifest written by {header.tool}",
        "prov:endedAtTime": header.created,
    }
    parents = [
        {"@type": "prov:Entity", "@id": urn(parent.digest), "prov:label": parent.name} for parent in header.parents
    ]
    made = generators(header)
    return {
        "prov:wasDerivedFrom": parents,
        "prov:wasGeneratedBy": [written, *(_generation_by(generator) for generator in made)],
        "prov:wasAttributedTo": [_agent(generator) for generator in made],
    }


def _own_figures(manifest: Manifest) -> dict[str, Any]:
    header = manifest.header
    return {
        "cg:digest": manifest.digest,
        "cg:generation": header.generation,
        "cg:unit": header.unit,
        "cg:idRule": header.id_rule,
        "cg:rows": header.index.rows,
        "cg:amount": manifest.amount,
        "cg:realShare": real_share(header),
        "cg:originRows": {f"cg:{origin}": rows for origin, rows in origin_rows(header).items()},
        "cg:rootDigest": header.root_digest,
        "cg:realRootDigest": header.real_root_digest,
        "cg:policyDigest": header.policy_digest,
        "cg:takedownsDigest": None if header.takedowns is None else header.takedowns.digest,
        "cg:dataSource": [_source(source) for source in header.sources],
    }


def _source(source: SourceEntry) -> dict[str, Any]:
    made = [_reference(_agent(generator)) for generator in source.generators]
    found = {
        "@type": "prov:Entity",
        "prov:label": source.name,
        "prov:wasAttributedTo": made,
        "cg:origin": source.origin,
        "cg:rows": source.rows,
        "cg:realRows": source.real_rows,
        "cg:amount": source.amount,
        "cg:digest": source.root_digest,
    }
    return _without_empty(found)


def _index_objects(manifest: Manifest, parts: tuple[PartEntry, ...]) -> list[dict[str, Any]]:
    """Return a file object per part, and the set of them that the records are read from."""
    if not parts:
        return []
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": f"parts/{part.name.rpartition('/')[2]}",
            "name": part.name.rpartition("/")[2],
            "contentUrl": quote(part.name),
            **({} if part.bytes is None else {"contentSize": f"{part.bytes} B"}),
            "encodingFormat": _FORMATS[".parquet"],
            "sha256": part.sha256,
        }
        for part in parts
    ]
    together = {
        "@type": "cr:FileSet",
        "@id": "parts",
        "name": "parts",
        "description": f"The index of {path_of(manifest).name}: one row per training row.",
        "encodingFormat": _FORMATS[".parquet"],
        "includes": [escape(part.name) for part in parts],
    }
    return [*objects, together]


def _data_objects(header: Header, given: Publication) -> list[dict[str, Any]]:
    entries = data_file_entries(header)
    paths = [entry.file.path for entry in entries]
    made = {source.name: source.generators for source in header.sources}
    return [_data_object(entry, made, given, alone=paths.count(entry.file.path) == 1) for entry in entries]


def _data_object(
    entry: DataFileEntry, made: dict[str, tuple[str, ...]], given: Publication, *, alone: bool
) -> dict[str, Any]:
    path, hex_digits = unquote(entry.file.path), entry.file.digest.removeprefix("sha256:")
    agents = sorted({generator for source in entry.sources for generator in made.get(source, ())})
    found = {
        "@id": quote(f"data/{path}" if alone else f"data/{hex_digits[:12]}/{path}"),
        "name": path.rpartition("/")[2],
        **(_folder(path, hex_digits) if _is_folder(path) else _file(path, hex_digits, entry.file.bytes, given)),
        "cg:sourceName": list(entry.sources),
        "prov:wasGeneratedBy": [_reference(_generation_by(generator)) for generator in agents],
    }
    return _without_empty(found)


def _file(path: str, hex_digits: str, n_bytes: int, given: Publication) -> dict[str, Any]:
    before = "" if given.data_url is None else f"{given.data_url.rstrip('/')}/"
    return {
        "@type": "cr:FileObject",
        "contentUrl": f"{before}{quote(path)}",
        "contentSize": f"{n_bytes} B",
        "encodingFormat": _format(path),
        "sha256": hex_digits,
    }


def _is_folder(path: str) -> bool:
    """Return whether an entry is a folder of pictures or recordings, which is inventoried as one file."""
    return not path.lower().endswith(tuple(SUFFIXES))


def _folder(path: str, hex_digits: str) -> dict[str, Any]:
    """Return the set of a folder's files; its digest is over names, sizes and digests of the members: our own term."""
    return {
        "@type": "cr:FileSet",
        "includes": "*" if path == "." else f"{escape(path)}/*",
        "encodingFormat": "application/octet-stream",
        "cg:digest": f"sha256:{hex_digits}",
    }


def _format(path: str) -> str:
    suffix = f".{path.rpartition('.')[2].lower()}"
    return _FORMATS.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _record_set(header: Header) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "name": "rows",
        "description": f"Where each training row comes from; ids follow the rule {header.id_rule}.",
        "field": [_field(name, kind, text) for name, (kind, text) in _FIELDS.items()],
    }


def _field(name: str, kind: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"rows/{name}",
        "name": name,
        "description": text,
        "dataType": kind,
        "source": {"fileSet": {"@id": "parts"}, "extract": {"column": name}},
    }
    if name == "generator":
        found["equivalentProperty"] = "prov:wasAttributedTo"
    return found
