import com.datastax.oss.driver.api.core.cql.BoundStatement;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.util.Map;
import java.util.UUID;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.pekko.Done;
import org.apache.pekko.actor.ActorSystem;
import org.apache.pekko.actor.CoordinatedShutdown;
import org.apache.pekko.japi.Pair;
import org.apache.pekko.kafka.CommitterSettings;
import org.apache.pekko.kafka.ConsumerMessage.CommittableMessage;
import org.apache.pekko.kafka.ConsumerSettings;
import org.apache.pekko.kafka.Subscriptions;
import org.apache.pekko.kafka.javadsl.Committer;
import org.apache.pekko.kafka.javadsl.Consumer;
import org.apache.pekko.stream.connectors.cassandra.CassandraSessionSettings;
import org.apache.pekko.stream.connectors.cassandra.CassandraWriteSettings;
import org.apache.pekko.stream.connectors.cassandra.javadsl.CassandraFlow;
import org.apache.pekko.stream.connectors.cassandra.javadsl.CassandraSessionRegistry;

/**
 * A source per Kafka partition, merged into one Cassandra flow, into a committer; settings are in application.conf.
 *
 * <p>At least once: the flow emits a message after its row is written, in the order of its partition, and only emitted
 * messages are committed. A row that is not written ends the stream, and the process with 1.
 */
public final class Stream {
  private static final int MOST_PARTITIONS = 64;
  private static final ObjectReader ROW = new ObjectMapper().readerForMapOf(String.class);

  public static void main(String[] arguments) {
    var system = ActorSystem.create("bench");
    var session = CassandraSessionRegistry.get(system).sessionFor(CassandraSessionSettings.create());
    var bytes = new ByteArrayDeserializer();
    var writes = CassandraWriteSettings.defaults().withParallelism(Integer.parseInt(env("BENCH_CONCURRENCY")));
    var insert = ("INSERT INTO %s.%s (id, first_name, last_name, gender, address, post_code, email, username, dob,"
            + " registered_date, phone, picture) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .formatted(env("BENCH_KEYSPACE"), env("BENCH_TABLE"));

    var control = Consumer.committablePartitionedSource(
            ConsumerSettings.create(system, bytes, bytes), Subscriptions.topics(env("BENCH_TOPIC")))
        .flatMapMerge(MOST_PARTITIONS, Pair::second)
        .via(CassandraFlow.create(session, writes, insert, Stream::bind))
        .map(message -> message.committableOffset())
        .toMat(Committer.sink(CommitterSettings.create(system)), Consumer::createDrainingControl)
        .run(system);

    CoordinatedShutdown.get(system).addTask(
        CoordinatedShutdown.PhaseServiceRequestsDone(),
        "drain",
        () -> control.drainAndShutdown(system.dispatcher()).thenApply(done -> Done.getInstance()));
    control.streamCompletion().whenComplete((done, error) -> {
      if (error == null) return;
      error.printStackTrace();
      // Not exit, whose hooks would wait for the thread that this is.
      Runtime.getRuntime().halt(1);
    });
  }

  private static BoundStatement bind(CommittableMessage<byte[], byte[]> message, PreparedStatement insert) {
    Map<String, String> row;
    try {
      row = ROW.readValue(message.record().value());
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return insert.bind(
        UUID.fromString(row.get("id")),
        row.get("first_name"),
        row.get("last_name"),
        row.get("gender"),
        row.get("address"),
        row.get("post_code"),
        row.get("email"),
        row.get("username"),
        Instant.parse(row.get("dob")),
        Instant.parse(row.get("registered_date")),
        row.get("phone"),
        row.get("picture"));
  }

  private static String env(String name) {
    return System.getenv(name);
  }
}
