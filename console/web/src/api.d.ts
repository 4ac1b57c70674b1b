export interface components {
  schemas: {
    Problem: {
      status: number;
      reason: components["schemas"]["ProblemReason"];
      message: string;
      causes: string[];
      right: string | null;
      fields: components["schemas"]["FieldProblem"][];
      retryAfter: number | null;
    };
    ProblemReason: "Unauthenticated" | "Forbidden" | "NotFound" | "Rejected" | "Conflict" | "Limited" | "Unavailable" | "Bug";
    FieldProblem: {
      field: string;
      message: string;
    };
    Done: {
      message: string;
      name: string | null;
      kubectl: string;
      manifest: string | null;
    };
    Span: {
      seconds: number | null;
    };
    History: {
      stepSeconds: number;
      times: number[];
      series: components["schemas"]["Series"][];
      unknown: string[];
    };
    Series: {
      key: components["schemas"]["SeriesKey"];
      values: (number | null)[];
    };
    SeriesKey: {
      measure: components["schemas"]["Measure"];
      stage: components["schemas"]["Stage"] | null;
      name: string | null;
      partition: number | null;
    };
    Measure: "InRate" | "OutRate" | "ErrorRate" | "LagRecords" | "LagSeconds" | "Busy" | "Idle" | "BackPressured" | "LatencyP50" | "LatencyP99" | "AgeP50" | "AgeP99";
    Sample: {
      time: number;
      values: components["schemas"]["SampleValue"][];
      unknown: string[];
    };
    SampleValue: {
      key: components["schemas"]["SeriesKey"];
      value: number | null;
    };
    Lag: {
      group: string;
      measured: string | null;
      totalRecords: number | null;
      totalSeconds: number | null;
      partitions: components["schemas"]["PartitionLag"][];
      unknown: string | null;
      kubectl: string;
    };
    PartitionLag: {
      topic: string;
      partition: number;
      startOffset: number | null;
      endOffset: number | null;
      committedOffset: number | null;
      lagRecords: number | null;
      lagSeconds: number | null;
      inRate: number | null;
      outRate: number | null;
    };
    Query: {
      limit: number | null;
    };
    DeadLetters: {
      topic: string;
      total: number | null;
      reasons: components["schemas"]["ReasonCount"][];
      letters: components["schemas"]["DeadLetter"][];
      more: boolean;
      redrive: string[];
      kubectl: string;
    };
    ReasonCount: {
      reason: string;
      count: number;
    };
    DeadLetter: {
      reason: string;
      message: string | null;
      query: string | null;
      topic: string | null;
      partition: number | null;
      offset: number | null;
      timestamp: string | null;
      record: components["schemas"]["Message"];
    };
    Topics: {
      topics: components["schemas"]["Topic"][];
      unknown: string | null;
    };
    Topic: {
      name: string;
      partitions: number | null;
      records: number | null;
      deadLetters: boolean;
    };
    Query: {
      from: components["schemas"]["From"] | null;
      offset: number | null;
      time: string | null;
      partition: number | null;
      key: string | null;
      contains: string | null;
      header: string | null;
      run: string | null;
      limit: number | null;
      cursor: string | null;
    };
    Filter: {
      partition: number | null;
      key: string | null;
      contains: string | null;
      header: string | null;
      run: string | null;
    };
    From: "newest" | "oldest" | "offset" | "time";
    Messages: {
      messages: components["schemas"]["Message"][];
      scanned: number;
      complete: boolean;
      cursor: string | null;
      maskedFields: string[];
      kubectl: string;
    };
    Message: {
      partition: number;
      offset: number;
      timestamp: string | null;
      key: components["schemas"]["Text"] | null;
      value: components["schemas"]["Text"] | null;
      json: unknown | null;
      headers: components["schemas"]["MessageHeader"][];
      run: string | null;
      bytes: number;
    };
    MessageHeader: {
      name: string;
      value: components["schemas"]["Text"] | null;
    };
    Text: {
      encoding: components["schemas"]["Encoding"];
      text: string;
      cut: boolean;
      masked: boolean;
    };
    Encoding: "Utf8" | "Base64";
    TailBatch: {
      messages: components["schemas"]["Message"][];
      skipped: number;
    };
    Wanted: {
      namespace: string | null;
    };
    Pipelines: {
      pipelines: components["schemas"]["PipelineSummary"][];
      scope: string[];
      forbidden: string[];
      problem: string | null;
    };
    PipelineSummary: {
      namespace: string;
      name: string;
      created: string;
      state: components["schemas"]["State"];
      ready: components["schemas"]["Condition"] | null;
      phase: string | null;
      components: components["schemas"]["ComponentSummary"][];
      lagRecords: number | null;
      lagSeconds: number | null;
      inRate: number | null;
      outRate: number | null;
      errorRate: number | null;
      pausedSources: string[];
      lagSparkline: (number | null)[];
    };
    ComponentSummary: {
      component: components["schemas"]["Component"];
      ready: number | null;
      desired: number | null;
    };
    Component: "ZooKeeper" | "Kafka" | "Cassandra" | "Producer" | "Processor";
    State: "Ok" | "Waiting" | "Degraded" | "Failed" | "Paused" | "Empty" | "Unknown";
    Condition: {
      type: string;
      status: string;
      reason: string;
      message: string;
      since: string;
    };
    PipelineView: {
      summary: components["schemas"]["PipelineSummary"];
      conditions: components["schemas"]["Condition"][];
      graph: components["schemas"]["Graph"];
      why: components["schemas"]["Why"];
      signals: components["schemas"]["StageSignals"][];
      sources: components["schemas"]["SourceView"][];
      deadLetterTopic: string;
      plannedActions: string[];
      rights: components["schemas"]["Rights"];
      maskedFields: string[];
      generation: number;
      observedGeneration: number | null;
      kubectl: string;
    };
    Rights: {
      messages: boolean | null;
      rows: boolean | null;
      unmasked: boolean | null;
      logs: boolean | null;
      runs: boolean | null;
      trigger: boolean | null;
      cancel: boolean | null;
      pause: boolean | null;
    };
    Graph: {
      nodes: components["schemas"]["Node"][];
      edges: components["schemas"]["Edge"][];
    };
    Node: {
      id: string;
      kind: components["schemas"]["NodeKind"];
      name: string;
      component: components["schemas"]["Component"];
      state: components["schemas"]["State"];
      reason: string | null;
      message: string | null;
      ready: number | null;
      desired: number | null;
      inRate: number | null;
      outRate: number | null;
      errorRate: number | null;
      lagRecords: number | null;
      detail: string;
    };
    NodeKind: "Source" | "Topic" | "Query" | "Table" | "DeadLetters" | "Store";
    Edge: {
      from: string;
      to: string;
      kind: components["schemas"]["EdgeKind"];
      rate: number | null;
    };
    EdgeKind: "Flow" | "RestsOn";
    Why: {
      state: components["schemas"]["State"];
      sentence: string;
      bottlenecks: components["schemas"]["Bottleneck"][];
      unknown: string[];
    };
    Bottleneck: {
      node: string | null;
      severity: number;
      worsening: boolean | null;
      message: string;
    };
    Stage: "Source" | "Processor" | "Sink";
    StageSignals: {
      stage: components["schemas"]["Stage"];
      name: string;
      inRate: number | null;
      outRate: number | null;
      errorRate: number | null;
      p50Seconds: number | null;
      p99Seconds: number | null;
      busy: number | null;
      idle: number | null;
      backPressured: number | null;
      ageP50Seconds: number | null;
      ageP99Seconds: number | null;
      unknown: string | null;
    };
    Pods: {
      pods: components["schemas"]["Pod"][];
      kubectl: string;
    };
    Pod: {
      name: string;
      component: string;
      run: string | null;
      phase: string;
      ready: boolean;
      terminating: boolean;
      reason: string | null;
      node: string | null;
      created: string;
      containers: components["schemas"]["Container"][];
    };
    Container: {
      name: string;
      image: string;
      initial: boolean;
      state: string | null;
      reason: string | null;
      restarts: number;
      previous: boolean;
    };
    LogQuery: {
      container: string | null;
      previous: boolean;
      tail: number | null;
      sinceSeconds: number | null;
      contains: string | null;
    };
    LogLines: {
      lines: string[];
    };
    Events: {
      events: components["schemas"]["Event"][];
      kubectl: string;
    };
    Event: {
      time: string | null;
      type: string;
      reason: string;
      object: string;
      message: string;
      count: number;
    };
    Resource: {
      yaml: string;
      spec: unknown;
      generation: number;
      observedGeneration: number | null;
      conditions: components["schemas"]["Condition"][];
      differences: components["schemas"]["Difference"][];
      unknown: string[];
      plannedActions: string[];
      rejected: string[];
      kubectl: string;
    };
    Difference: {
      component: components["schemas"]["Component"];
      field: string;
      wanted: string;
      running: string;
    };
    Tables: {
      keyspace: string;
      tables: components["schemas"]["Table"][];
    };
    Table: {
      name: string;
      columns: components["schemas"]["Column"][];
    };
    Column: {
      name: string;
      type: string;
      role: components["schemas"]["Role"];
      masked: boolean;
    };
    Role: "Partition" | "Clustering" | "Regular";
    Query: {
      limit: number | null;
      key: string | null;
    };
    Rows: {
      columns: components["schemas"]["Column"][];
      rows: unknown[][];
      more: boolean;
      cql: string;
      kubectl: string;
    };
    Runs: {
      runs: components["schemas"]["Run"][];
      kubectl: string;
    };
    Run: {
      name: string;
      source: string;
      phase: string | null;
      message: string | null;
      requestedBy: string | null;
      backfill: string | null;
      scheduled: string | null;
      created: string;
      started: string | null;
      ended: string | null;
      nextAttempt: string | null;
      cancelling: boolean;
      params: { [key: string]: string };
      maxRecords: number | null;
      duration: string | null;
      recordsRead: number | null;
      recordsProduced: number | null;
      recordsRejected: number | null;
      bytes: number | null;
      topic: string | null;
      topicRanges: components["schemas"]["TopicRange"][];
      topicRangesIncomplete: boolean;
      traceId: string | null;
      attempts: components["schemas"]["Attempt"][];
      kubectl: string;
    };
    TopicRange: {
      partition: number;
      firstOffset: number;
      lastOffset: number;
    };
    Attempt: {
      number: number;
      started: string;
      ended: string | null;
      pod: string | null;
      error: string | null;
      recordsRead: number | null;
      recordsProduced: number | null;
      recordsRejected: number | null;
    };
    Trigger: {
      source: string;
      params?: { [key: string]: string };
      maxRecords?: number | null;
      duration?: string | null;
      retryLimit?: number | null;
      timeout?: string | null;
      dryRun?: boolean;
    };
    Backfill: {
      source: string;
      name?: string | null;
      from: string;
      to: string;
      step?: string | null;
      fromParam?: string | null;
      toParam?: string | null;
      params?: { [key: string]: string };
      maxActive?: number | null;
      dryRun?: boolean;
    };
    BackfillAnswer: {
      name: string;
      runs: components["schemas"]["BackfillRun"][];
      done: components["schemas"]["Done"] | null;
    };
    BackfillRun: {
      name: string;
      from: string;
      to: string;
      params: { [key: string]: string };
      exists: boolean;
    };
    Paused: {
      paused: boolean;
    };
    Login: {
      token: string;
    };
    Session: {
      user: string;
      groups: string[];
      csrf: string;
      idleEnd: string;
      end: string;
      version: string;
    };
    SourceView: {
      name: string;
      kind: string;
      topic: string;
      runnable: boolean;
      notRunnable: string | null;
      params: components["schemas"]["ParamView"][];
      schedule: components["schemas"]["ScheduleView"] | null;
    };
    ParamView: {
      name: string;
      type: string;
      default: string | null;
      description: string | null;
      minimum: number | null;
      maximum: number | null;
      choices: string[];
      pattern: string | null;
    };
    ScheduleView: {
      cron: string | null;
      timeZone: string;
      paused: boolean;
      concurrencyPolicy: string;
      catchUp: string;
      next: string | null;
      last: string | null;
      lastRun: string | null;
      missed: number | null;
      lastMissed: string | null;
      lastMissedReason: string | null;
      active: number | null;
      message: string | null;
    };
    Query: {
      topic: string;
      partition: number;
      offset: number;
    };
    Trace: {
      steps: components["schemas"]["Step"][];
      record: components["schemas"]["Message"] | null;
    };
    Step: {
      kind: components["schemas"]["StepKind"];
      name: string;
      outcome: components["schemas"]["Outcome"];
      time: string | null;
      seconds: number | null;
      message: string;
      facts: components["schemas"]["Fact"][];
      row: components["schemas"]["Rows"] | null;
    };
    StepKind: "Run" | "Source" | "Topic" | "Query" | "Row" | "DeadLetter";
    Outcome: "Done" | "Waiting" | "Missing" | "Superseded" | "Rejected" | "Unknown";
    Fact: {
      name: string;
      value: string;
    };
  };
}
