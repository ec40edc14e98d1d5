"""MERGE INTO on Spark, run by an interpreter that has pyspark: reads its work as JSON, prints its seconds.

Session start-up is not counted; a small query warms the session before the clock starts.
"""

import json
import sys
import time

from pyspark.sql import SparkSession

work = json.loads(sys.argv[1])
catalog = "spark.sql.catalog.bench"
session = (
    SparkSession.builder.master("local[2]")
    .config("spark.driver.memory", work["memory"])
    .config("spark.jars", work["jars"])
    .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
    .config(catalog, "org.apache.iceberg.spark.SparkCatalog")
    .config(f"{catalog}.type", "jdbc")
    .config(f"{catalog}.uri", f"jdbc:sqlite:{work['database']}")
    .config(f"{catalog}.jdbc.schema-version", "V1")
    .config(f"{catalog}.warehouse", work["warehouse"])
    .config("spark.sql.shuffle.partitions", "16")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
session.sparkContext.setLogLevel("ERROR")
table = f"bench.{work['table']}"
session.sql(
    f"ALTER TABLE {table} SET TBLPROPERTIES ('write.merge.mode'='merge-on-read', "
    "'write.merge.distribution-mode'='hash', 'write.delete.granularity'='partition', "
    "'write.merge.isolation-level'='snapshot')"
)
session.read.parquet(work["batch"]).createOrReplaceTempView("batch")
session.sql("select count(*) from batch").collect()
started = time.perf_counter()
session.sql(work["merge"].format(table=table, batch="batch"))
print(json.dumps({"seconds": time.perf_counter() - started}))
session.stop()
