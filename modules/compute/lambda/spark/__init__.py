"""The jobs of the layers on Spark: for what outgrows one function (docs/adr/0029).

Spark distributes, the layers decide. No rule is here: tasks call what a function calls.

    parts     what tasks do, and what they answer: no Spark is needed to read or test it
    cluster   the same as stages of a Spark context: a ``Staging`` of each layer
    job       what ``spark-submit`` runs
"""
