"""MERGE INTO on Spark, run by an interpreter that has pyspark: reads its work as JSON, prints its seconds.

Session start-up is not counted; a small query warms the session before the clock starts.
"""

import json
import sys
import time

from spark_session import open_session

work = json.loads(sys.argv[1])
session = open_session(work)
table = f"bench.{work['table']}"
# By default Iceberg's Bloom filters take up to 1 MiB a file, which would make Spark write 500 MB for 16 MB of rows.
session.sql(
    f"ALTER TABLE {table} SET TBLPROPERTIES ('write.merge.mode'='merge-on-read', "
    "'write.merge.distribution-mode'='hash', 'write.delete.granularity'='partition', "
    "'write.merge.isolation-level'='snapshot', 'write.parquet.bloom-filter-max-bytes'='65536')"
)
session.read.parquet(work["batch"]).createOrReplaceTempView("batch")
session.sql("select count(*) from batch").collect()
started = time.perf_counter()
session.sql(work["merge"])
print(json.dumps({"seconds": time.perf_counter() - started}))
session.stop()
