-- Times are milliseconds since the Unix epoch. JSON is text. Digests are 64 hexadecimal digits.

CREATE TABLE IF NOT EXISTS setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Who may write what only one may write. The fence grows with every change of hands; a writer that lost its lease finds
-- another number here and gives up.
CREATE TABLE IF NOT EXISTS lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

-- Signed metadata files. The newest of a role is its highest version.
CREATE TABLE IF NOT EXISTS metadata (
    role TEXT NOT NULL,
    version BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (role, version)
);

-- Target files that some published metadata has named: nothing else in the object store can be read from outside.
CREATE TABLE IF NOT EXISTS target (
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    length BIGINT NOT NULL,
    PRIMARY KEY (path, sha256)
);

CREATE TABLE IF NOT EXISTS build (
    model TEXT NOT NULL,
    build TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    manifest TEXT NOT NULL,
    manifest_sha256 TEXT NOT NULL,
    payload_sha256 TEXT NOT NULL,
    payload_size BIGINT NOT NULL,
    -- 0 after a publication dropped it; its name and sequence stay taken.
    listed BIGINT NOT NULL,
    published_ms BIGINT NOT NULL,
    PRIMARY KEY (model, build),
    UNIQUE (model, sequence)
);

CREATE TABLE IF NOT EXISTS delta (
    model TEXT NOT NULL,
    from_build TEXT NOT NULL,
    to_build TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    not_before_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    error TEXT,
    -- Known when done.
    size BIGINT,
    sha256 TEXT,
    metadata_size BIGINT,
    metadata_sha256 TEXT,
    PRIMARY KEY (model, from_build, to_build)
);

CREATE TABLE IF NOT EXISTS rollout (
    model TEXT NOT NULL,
    channel TEXT NOT NULL,
    build TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    stage TEXT NOT NULL,
    reason TEXT,
    over_seconds BIGINT NOT NULL,
    polls_seconds BIGINT NOT NULL,
    ramp TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    -- Devices see the one that opened last.
    opened_ms BIGINT,
    document TEXT,
    PRIMARY KEY (model, channel, build)
);

-- One row for each device and build: a pseudonym links nothing across builds. Addresses are not kept.
CREATE TABLE IF NOT EXISTS report (
    model TEXT NOT NULL,
    build TEXT NOT NULL,
    pseudonym TEXT NOT NULL,
    channel TEXT NOT NULL,
    outcome TEXT NOT NULL,
    from_build TEXT,
    error TEXT,
    payload TEXT,
    install_seconds BIGINT,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (model, build, pseudonym)
);

-- Counted at every look at a rollout, and before a new row is taken.
CREATE INDEX IF NOT EXISTS report_received ON report (model, build, received_ms, channel, outcome);

-- A device key is enrolled by its first message.
CREATE TABLE IF NOT EXISTS device (
    key TEXT PRIMARY KEY,
    first_seen_ms BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS device_first_seen ON device (first_seen_ms);

CREATE TABLE IF NOT EXISTS feedback (
    model TEXT NOT NULL,
    build TEXT NOT NULL,
    key TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    body TEXT NOT NULL,
    signature TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    -- The same message sent twice is one message.
    PRIMARY KEY (model, build, key, body_sha256)
);

CREATE INDEX IF NOT EXISTS feedback_of_build ON feedback (model, build, received_ms);
CREATE INDEX IF NOT EXISTS feedback_received ON feedback (received_ms, key);

CREATE TABLE IF NOT EXISTS ballot (
    model TEXT NOT NULL,
    build TEXT NOT NULL,
    key TEXT NOT NULL,
    entry TEXT NOT NULL,
    cast_ms BIGINT NOT NULL,
    body TEXT NOT NULL,
    signature TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (model, build, key)
);

-- The page counts votes without reading a ballot.
CREATE INDEX IF NOT EXISTS ballot_entry ON ballot (model, build, entry);
