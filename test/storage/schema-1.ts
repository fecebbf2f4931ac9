/** A database as the program with schema version 1 stored it: its tables, and a job of every status. */
export const SCHEMA_1: readonly string[] = [
  `CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT`,
  `CREATE TABLE space (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  name TEXT NOT NULL,
  settings TEXT NOT NULL,
  generation INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT`,
  `CREATE TABLE jobs (
  ulid TEXT PRIMARY KEY,
  status TEXT NOT NULL,
  priority INTEGER NOT NULL,
  input TEXT NOT NULL,
  files TEXT NOT NULL,
  user TEXT,
  limits TEXT NOT NULL,
  cancel_on_disconnect INTEGER NOT NULL,
  submitter TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  started_at INTEGER,
  log_offset INTEGER NOT NULL,
  history TEXT NOT NULL,
  queued_at INTEGER,
  queue_due_at INTEGER,
  worker_id TEXT,
  worker_name TEXT,
  generation INTEGER,
  dispatched_at INTEGER,
  detached_at INTEGER,
  cancel_requested_at INTEGER,
  reason TEXT,
  completed_at INTEGER,
  result TEXT,
  metrics TEXT,
  error_code TEXT,
  progress REAL NOT NULL
) STRICT, WITHOUT ROWID`,
  `CREATE INDEX jobs_queue ON jobs (priority DESC, ulid) WHERE status = 'queued'`,
  `CREATE INDEX jobs_queue_due ON jobs (queue_due_at)
  WHERE status = 'queued' AND queue_due_at IS NOT NULL`,
  `CREATE INDEX jobs_processing ON jobs (ulid) WHERE status = 'processing'`,
  `CREATE TABLE job_log (
  ulid TEXT NOT NULL,
  first_offset INTEGER NOT NULL,
  last_offset INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  events TEXT NOT NULL,
  PRIMARY KEY (ulid, first_offset)
) STRICT, WITHOUT ROWID`,
  `INSERT INTO schema_version (version)
  VALUES (1)`,
  `INSERT INTO space (only, name, settings, generation, created_at, updated_at)
  VALUES (1, 'painter', '{"title":"Painter","description":"","visibility":"public","enable_prompt":true,"enable_audio":false,"enable_video":false,"enable_file_upload":false,"max_workers":1,"concurrency":null,"offline":"queue","max_queue":1000,"max_attempts":3,"reconnect_grace_s":15,"queue_timeout_s":3600,"first_output_timeout_s":null,"stall_timeout_s":null,"job_timeout_s":120,"result_ttl_s":86400}', 1, 1795132800000, 1795132800000)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, submitter, created_at, updated_at, attempts, log_offset, history, queued_at, progress)
  VALUES ('01KA7Z3QK00000000000000001', 'queued', 0, '{"prompt":"hi"}', '[]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 'socket-1', 1795132800000, 1795132800000, 0, 1, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null}]', 1795132800000, 0)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, created_at, updated_at, attempts, log_offset, history, queued_at, queue_due_at, progress)
  VALUES ('01KA7Z3QK00000000000000002', 'queued', 5, '{"prompt":"hi"}', '[]', '{"queueTimeoutS":30,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 1795132800000, 1795132800000, 0, 1, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null}]', 1795132800000, 1795132830000, 0)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, submitter, created_at, updated_at, attempts, log_offset, history, queued_at, progress)
  VALUES ('01KA7Z3QK00000000000000003', 'queued', 0, '{"prompt":"hi"}', '[]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 1, 'socket-2', 1795132800000, 1795132800000, 0, 1, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null}]', 1795132800000, 0)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, created_at, updated_at, attempts, started_at, log_offset, history, queued_at, progress)
  VALUES ('01KA7Z3QK00000000000000004', 'queued', 0, '{"prompt":"hi"}', '[]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 1795132800000, 1795132803000, 1, 1795132801000, 4, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null},{"offset":2,"at":1795132801000,"status":"processing","attempt":1,"message":null},{"offset":4,"at":1795132803000,"status":"queued","attempt":1,"message":"The worker left before it ended the job."}]', 1795132803000, 0)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, created_at, updated_at, attempts, started_at, log_offset, history, worker_id, worker_name, generation, dispatched_at, progress)
  VALUES ('01KA7Z3QK00000000000000005', 'processing', 0, '{"prompt":"it''s","seed":7}', '[]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 1795132800000, 1795132804000, 1, 1795132801000, 5, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null},{"offset":2,"at":1795132801000,"status":"processing","attempt":1,"message":null}]', 'worker-1', 'One', 1, 1795132801000, 40)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, created_at, updated_at, attempts, started_at, log_offset, history, worker_id, worker_name, generation, dispatched_at, detached_at, progress)
  VALUES ('01KA7Z3QK00000000000000006', 'processing', 0, '{"prompt":"hi"}', '[]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 1795132800000, 1795132801000, 1, 1795132801000, 2, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null},{"offset":2,"at":1795132801000,"status":"processing","attempt":1,"message":null}]', 'worker-1', 'One', 1, 1795132801000, 1795132802000, 0)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, created_at, updated_at, attempts, started_at, log_offset, history, worker_id, worker_name, generation, dispatched_at, cancel_requested_at, reason, progress)
  VALUES ('01KA7Z3QK00000000000000007', 'processing', 0, '{"prompt":"hi"}', '[]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 1795132800000, 1795132802000, 1, 1795132801000, 3, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null},{"offset":2,"at":1795132801000,"status":"processing","attempt":1,"message":null},{"offset":3,"at":1795132802000,"status":"processing","attempt":1,"message":"Canceling …"}]', 'worker-1', 'One', 1, 1795132801000, 1795132802000, 'Canceled by a call.', 0)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, created_at, updated_at, attempts, started_at, log_offset, history, worker_id, worker_name, generation, completed_at, result, metrics, progress)
  VALUES ('01KA7Z3QK00000000000000008', 'completed', 0, '{"prompt":"hi"}', '[{"field":"image","name":"cat.png","content_type":"image/png","size":4,"key":"spaces/painter/inputs/x/0"}]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 1795132800000, 1795132804000, 1, 1795132801000, 4, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null},{"offset":2,"at":1795132801000,"status":"processing","attempt":1,"message":null},{"offset":4,"at":1795132804000,"status":"completed","attempt":1,"message":null}]', 'worker-1', 'One', 1, 1795132804000, '{"ok":true}', '{"steps":3}', 100)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, created_at, updated_at, attempts, started_at, log_offset, history, worker_id, worker_name, generation, reason, completed_at, error_code, progress)
  VALUES ('01KA7Z3QK00000000000000009', 'failed', 0, '{"prompt":"hi"}', '[]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 1795132800000, 1795132803000, 1, 1795132801000, 3, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null},{"offset":2,"at":1795132801000,"status":"processing","attempt":1,"message":null},{"offset":3,"at":1795132803000,"status":"failed","attempt":1,"message":"oom: no room"}]', 'worker-1', 'One', 1, 'oom: no room', 1795132803000, 'worker_error', 0)`,
  `INSERT INTO jobs (ulid, status, priority, input, files, limits, cancel_on_disconnect, created_at, updated_at, attempts, log_offset, history, reason, completed_at, progress)
  VALUES ('01KA7Z3QK00000000000000010', 'canceled', 0, '{"prompt":"hi"}', '[]', '{"queueTimeoutS":null,"firstOutputTimeoutS":null,"stallTimeoutS":null,"jobTimeoutS":120,"maxAttempts":3,"reconnectGraceS":15}', 0, 1795132800000, 1795132801000, 0, 2, '[{"offset":1,"at":1795132800000,"status":"queued","attempt":0,"message":null},{"offset":2,"at":1795132801000,"status":"canceled","attempt":0,"message":"Canceled by a call."}]', 'Canceled by a call.', 1795132801000, 0)`,
  `INSERT INTO job_log (ulid, first_offset, last_offset, bytes, events)
  VALUES ('01KA7Z3QK00000000000000004', 3, 3, 75, '[{"kind":"output","offset":3,"at":1795132802000,"attempt":1,"delta":"lost"}]')`,
  `INSERT INTO job_log (ulid, first_offset, last_offset, bytes, events)
  VALUES ('01KA7Z3QK00000000000000005', 3, 3, 120, '[{"kind":"progress","offset":3,"at":1795132802000,"attempt":1,"progress":40,"message":"painting","estimatedRemaining":9}]')`,
  `INSERT INTO job_log (ulid, first_offset, last_offset, bytes, events)
  VALUES ('01KA7Z3QK00000000000000005', 4, 4, 192, '[{"kind":"output","offset":4,"at":1795132803000,"attempt":1,"delta":"a"}]')`,
  `INSERT INTO job_log (ulid, first_offset, last_offset, bytes, events)
  VALUES ('01KA7Z3QK00000000000000005', 5, 5, 264, '[{"kind":"output","offset":5,"at":1795132804000,"attempt":1,"delta":"b"}]')`,
  `INSERT INTO job_log (ulid, first_offset, last_offset, bytes, events)
  VALUES ('01KA7Z3QK00000000000000008', 3, 3, 74, '[{"kind":"output","offset":3,"at":1795132802000,"attempt":1,"delta":"pic"}]')`,
];
