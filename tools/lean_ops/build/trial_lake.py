"""Uses what a function with the ``lake`` layer loads late, so that trimming cannot take it away unnoticed.

``make build`` runs this file in an interpreter that sees one function's code and its layers, nothing else.
It reaches no network.
"""

import importlib.resources
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq
import yaml
import zstandard
from pyiceberg.avro.codecs import KNOWN_CODECS
from pyiceberg.avro.decoder_fast import CythonBinaryDecoder
from pyiceberg.catalog import load_catalog
from pyiceberg.io import load_file_io
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import StringType

from common.contract.contracts import load_contract

if not importlib.resources.files("tzdata").joinpath("zoneinfo/Europe/Berlin").is_file():
    raise AssertionError("time zones of contracts: expected those of tzdata")

table = pa.table({"key": ["a", "b"], "at": pa.array([0, 1], pa.timestamp("us", "UTC"))})
file = io.BytesIO()
pq.write_table(table, file, compression="zstd", bloom_filter_options={"key": True})
if pq.read_table(pa.BufferReader(file.getvalue()), filters=pc.field("key") == "b").num_rows != 1:
    raise AssertionError("Parquet: expected one row to come back")

buckets = BucketTransform(16).pyarrow_transform(StringType())(table["key"].combine_chunks())
if len(np.unique(buckets.to_numpy())) == 0:
    raise AssertionError("bucket transform: expected a bucket for each key")

if zstandard.decompress(zstandard.compress(b"avro")) != b"avro" or "deflate" not in KNOWN_CODECS:
    raise AssertionError("Avro: expected its codecs")
if CythonBinaryDecoder(b"\x02").read_int() != 1:
    raise AssertionError("Avro: expected the compiled decoder")

region = {"s3.region": "eu-west-1", "s3.access-key-id": "test", "s3.secret-access-key": "test"}
load_catalog("lake", type="glue", **{"glue.region": "eu-west-1"})
load_file_io(region, "s3://bucket/table").new_input("s3://bucket/table/metadata.json")
pa.fs.S3FileSystem(region="eu-west-1", access_key="test", secret_key="test")  # noqa: S106 - no secret

contract = yaml.safe_dump(
    {
        "apiVersion": "v3.0.2",
        "kind": "DataContract",
        "id": "trial",
        "version": "1.0.0",
        "status": "active",
        "schema": [{"name": "trial", "properties": [{"name": "reading", "logicalType": "number"}]}],
    }
)
load_contract(contract, "trial")
