"""The Iceberg catalog of this environment: AWS Glue, in production and on the local stack alike."""

import os
from collections.abc import Mapping
from typing import Any, Final

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.glue import GlueCatalog

from common.lake.avro import read_whole_files_only
from common.lake.times import InOrder
from common.runtime.clients import client

_FILES: Final = "common.lake.files.LakeFileIO"  # by name: who reads no file need not import Arrow


class LakeCatalog(InOrder, GlueCatalog):
    """Glue's catalog, whose commits are in the order of their times."""


def lake_catalog(
    environ: Mapping[str, str] | None = None,
    extra_properties: Mapping[str, str] | None = None,
    glue: Any = None,
) -> Catalog:
    """The Glue catalog, configured by the AWS environment variables that every SDK reads.

    pyarrow's S3 file system knows nothing of ``AWS_ENDPOINT_URL`` and region variables of the SDKs, so
    they are handed to it here; without an endpoint override this is the plain AWS Glue catalog.
    ``extra_properties`` are added as they are: credentials that do not come from the environment.
    ``glue`` is the client to ask, for who has one. What is read through the catalog is read whole or not at
    all (``common.lake.avro``).
    """
    read_whole_files_only()
    env = os.environ if environ is None else environ
    properties = {"type": "glue", "py-io-impl": _FILES}
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    if region:
        properties |= {"glue.region": region, "s3.region": region}
    if endpoint := env.get("AWS_ENDPOINT_URL_GLUE") or env.get("AWS_ENDPOINT_URL"):
        properties["glue.endpoint"] = endpoint
    if endpoint := env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL"):
        properties |= {"s3.endpoint": endpoint, "s3.force-virtual-addressing": "false"}
    asked = glue or client("glue", region_name=region, endpoint_url=properties.get("glue.endpoint"))
    return LakeCatalog("lake", asked, **properties, **(extra_properties or {}))
