import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.sink.SinkConnector;

/** The connector: hands its configuration to each of its tasks, see {@link CassandraSinkTask}. */
public final class CassandraSink extends SinkConnector {
  static final String TABLE = "cassandra.table";
  static final String MAX_CONCURRENT_REQUESTS = "cassandra.max.concurrent.requests";

  private Map<String, String> properties;

  @Override
  public void start(Map<String, String> properties) {
    this.properties = properties;
  }

  @Override
  public List<Map<String, String>> taskConfigs(int maxTasks) {
    return Collections.nCopies(maxTasks, properties);
  }

  @Override
  public Class<? extends Task> taskClass() {
    return CassandraSinkTask.class;
  }

  @Override
  public ConfigDef config() {
    return new ConfigDef()
        .define(TABLE, ConfigDef.Type.STRING, ConfigDef.Importance.HIGH, "keyspace.table that receives the rows")
        .define(MAX_CONCURRENT_REQUESTS, ConfigDef.Type.INT, ConfigDef.Importance.HIGH, "most writes in flight");
  }

  @Override
  public void stop() {}

  @Override
  public String version() {
    return "1";
  }
}
