"""Both Spark peers' program: a Kafka topic as a structured stream into a Cassandra table.

In: the environment of the bench contract, and Spark's configuration, in which the two peers differ. Out: rows.
Offsets live in a checkpoint of this run; the one that a batch began with is kept until all its rows are written.
"""

import os
import tempfile

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, from_json

SCHEMA = """
    id STRING, first_name STRING, last_name STRING, gender STRING, address STRING, post_code STRING, email STRING,
    username STRING, dob TIMESTAMP, registered_date TIMESTAMP, phone STRING, picture STRING
"""

env = os.environ
spark = SparkSession.builder.appName(env["BENCH_GROUP"]).getOrCreate()
spark.sparkContext.setLogLevel("ERROR")

source = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", env["BENCH_BROKERS"])
    .option("subscribe", env["BENCH_TOPIC"])
    .option("startingOffsets", "earliest")
)
# Absent: a batch takes all that the topic has.
if limit := spark.conf.get("spark.bench.maxOffsetsPerTrigger", None):
    source = source.option("maxOffsetsPerTrigger", limit)

rows = source.load().select(from_json(col("value").cast("string"), SCHEMA).alias("row")).select("row.*")

with tempfile.TemporaryDirectory(prefix="bench-spark-") as checkpoint:
    (
        rows.writeStream.format("org.apache.spark.sql.cassandra")
        .option("keyspace", env["BENCH_KEYSPACE"])
        .option("table", env["BENCH_TABLE"])
        .option("checkpointLocation", checkpoint)
        .start()
        .awaitTermination()
    )
