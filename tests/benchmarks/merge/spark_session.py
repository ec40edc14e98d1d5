"""A Spark session on the tables of a benchmark; for scripts that run in an interpreter with pyspark."""

from typing import Any

from pyspark.sql import SparkSession


def open_session(work: dict[str, Any]) -> SparkSession:
    """``local[2]`` with Iceberg's catalog ``bench`` over the SQLite catalog ``work["database"]``."""
    catalog = "spark.sql.catalog.bench"
    settings = {
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "jdbc",
        f"{catalog}.uri": f"jdbc:sqlite:{work['database']}",
        f"{catalog}.jdbc.schema-version": "V1",
        f"{catalog}.warehouse": work["warehouse"],
        "spark.sql.shuffle.partitions": "16",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **work["settings"],
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
