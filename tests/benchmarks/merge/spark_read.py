"""All rows of some tables as Spark reads them, run by an interpreter that has pyspark: prints them as JSON.

Times are printed as microseconds since 1970, rows in the order of the first column.
"""

import json
import sys

from spark_session import open_session

work = json.loads(sys.argv[1])
session = open_session(work)
found = {}
for table in work["tables"]:
    kinds = dict(session.table(f"bench.{table}").dtypes)
    columns = [f"unix_micros({c})" if kinds[c] == "timestamp" else c for c in work["columns"]]
    rows = session.sql(f"select {', '.join(columns)} from bench.{table} order by {columns[0]}").collect()
    found[table] = [list(row) for row in rows]
print(json.dumps(found))
session.stop()
