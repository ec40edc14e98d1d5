"""What operators do: one module an operation.

Open to others:

    pipeline      start and follow a run
    jobs          jobs on Spark: how far one is, whether one works
    run_report    what a run did, in sentences
    checkpoints   how far each layer has read, and moving it back
    rollback      a table back to an earlier snapshot
    rebuild       a layer built anew beside the live one
    contracts     what a contract would do, before it is put in place
    plan_markdown what a contract would do, as a comment on a pull request
    publishing    a contract put in place, with the rows that are there
    exporting     a contract as tools of the standard read it
    promoting     a field of Curated taken into a contract
    reconciling   all layers held against RAW, row by row
    replay        what did not get through, sent again
    erase         the events of keys out of everything, with a certificate
    breaker       the circuit breaker by hand
    releases      functions back and forward
    holds         who keeps the pipeline away from a topic
    leases        the run that has a topic
    alarms        which alarms are up, and what answers them
    doctor        what is wrong, and what to do
    trial         what would become of messages
    quality       rules of contracts about all rows together, measured now
    trace         one event through all layers
    views         Athena's view of a table whose columns were changed
    history       all versions of one key
    export        a query's rows as a file
    cost          what a month costs
    snowflake     Snowflake's set-up, and whether it keeps up
"""

__all__ = [
    "alarms",
    "breaker",
    "checkpoints",
    "contracts",
    "cost",
    "doctor",
    "erase",
    "export",
    "exporting",
    "history",
    "holds",
    "jobs",
    "leases",
    "pipeline",
    "plan_markdown",
    "promoting",
    "publishing",
    "quality",
    "rebuild",
    "reconciling",
    "releases",
    "replay",
    "rollback",
    "run_report",
    "snowflake",
    "trace",
    "trial",
    "views",
]
