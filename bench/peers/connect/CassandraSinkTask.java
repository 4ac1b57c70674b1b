import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.cql.BoundStatement;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import java.time.Instant;
import java.util.Collection;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;

/**
 * Writes records, which the JSON converter made maps of, as rows: asynchronously, so many at once as there are permits.
 *
 * <p>At least once: before Connect commits offsets, {@link #preCommit} awaits every write, and throws if one failed;
 * Connect then goes back to the offsets committed last.
 */
public final class CassandraSinkTask extends SinkTask {
  private static final String COLUMNS =
      "id, first_name, last_name, gender, address, post_code, email, username, dob, registered_date, phone, picture";

  private final AtomicReference<Throwable> failure = new AtomicReference<>();
  private CqlSession session;
  private PreparedStatement insert;
  private int maxInFlight;
  private Semaphore permits;

  @Override
  public void start(Map<String, String> properties) {
    maxInFlight = Integer.parseInt(properties.get(CassandraSink.MAX_CONCURRENT_REQUESTS));
    permits = new Semaphore(maxInFlight);
    session = CqlSession.builder().withClassLoader(getClass().getClassLoader()).build();
    insert = session.prepare(
        "INSERT INTO %s (%s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            .formatted(properties.get(CassandraSink.TABLE), COLUMNS));
  }

  @Override
  public void put(Collection<SinkRecord> records) {
    for (var record : records) {
      var row = bind((Map<?, ?>) record.value());
      permits.acquireUninterruptibly();
      session.executeAsync(row).whenComplete((result, error) -> {
        if (error != null) failure.compareAndSet(null, error);
        permits.release();
      });
    }
  }

  @Override
  public Map<TopicPartition, OffsetAndMetadata> preCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {
    permits.acquireUninterruptibly(maxInFlight);
    permits.release(maxInFlight);
    var error = failure.getAndSet(null);
    if (error != null) throw new ConnectException("a row was not written", error);
    return offsets;
  }

  @Override
  public void stop() {
    if (session != null) session.close();
  }

  @Override
  public String version() {
    return "1";
  }

  private BoundStatement bind(Map<?, ?> row) {
    return insert.bind(
        UUID.fromString((String) row.get("id")),
        row.get("first_name"),
        row.get("last_name"),
        row.get("gender"),
        row.get("address"),
        row.get("post_code"),
        row.get("email"),
        row.get("username"),
        Instant.parse((String) row.get("dob")),
        Instant.parse((String) row.get("registered_date")),
        row.get("phone"),
        row.get("picture"));
  }
}
