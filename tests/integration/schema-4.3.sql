-- The tables of Mastodon 4.3 that a delivery touches, with their columns; the same in 4.2 and 4.4.
-- migrate-*.sql make the later ones of them.
CREATE TABLE accounts (
    id bigserial PRIMARY KEY,
    username varchar NOT NULL DEFAULT '',
    domain varchar,
    private_key text,
    public_key text NOT NULL DEFAULT '',
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL,
    note text NOT NULL DEFAULT '',
    display_name varchar NOT NULL DEFAULT '',
    uri varchar,
    url varchar,
    avatar_file_name varchar,
    avatar_content_type varchar,
    avatar_file_size integer,
    avatar_updated_at timestamp(6) without time zone,
    header_file_name varchar,
    header_content_type varchar,
    header_file_size integer,
    header_updated_at timestamp(6) without time zone,
    avatar_remote_url varchar,
    locked boolean NOT NULL DEFAULT false,
    header_remote_url varchar NOT NULL DEFAULT '',
    last_webfingered_at timestamp(6) without time zone,
    inbox_url varchar NOT NULL DEFAULT '',
    outbox_url varchar NOT NULL DEFAULT '',
    shared_inbox_url varchar NOT NULL DEFAULT '',
    followers_url varchar NOT NULL DEFAULT '',
    protocol integer NOT NULL DEFAULT 0,
    memorial boolean NOT NULL DEFAULT false,
    moved_to_account_id bigint,
    featured_collection_url varchar,
    fields jsonb,
    actor_type varchar,
    discoverable boolean,
    also_known_as varchar[],
    silenced_at timestamp(6) without time zone,
    suspended_at timestamp(6) without time zone,
    hide_collections boolean,
    avatar_storage_schema_version integer,
    header_storage_schema_version integer,
    sensitized_at timestamp(6) without time zone,
    suspension_origin integer,
    trendable boolean,
    reviewed_at timestamp(6) without time zone,
    requested_review_at timestamp(6) without time zone,
    indexable boolean NOT NULL DEFAULT false,
    attribution_domains varchar[] DEFAULT '{}'
);
CREATE UNIQUE INDEX ON accounts (uri);

CREATE TABLE follows (
    id bigserial PRIMARY KEY,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL,
    account_id bigint NOT NULL,
    target_account_id bigint NOT NULL,
    show_reblogs boolean NOT NULL DEFAULT true,
    uri varchar,
    notify boolean NOT NULL DEFAULT false,
    languages varchar[]
);
CREATE UNIQUE INDEX ON follows (account_id, target_account_id);
CREATE INDEX ON follows (target_account_id);

CREATE TABLE unavailable_domains (
    id bigserial PRIMARY KEY,
    domain varchar NOT NULL DEFAULT '',
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE UNIQUE INDEX ON unavailable_domains (domain);

CREATE TABLE account_deletion_requests (
    id bigserial PRIMARY KEY,
    account_id bigint,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);

-- Who signs in, as far as it tells whether somebody administers the server.
CREATE TABLE user_roles (
    id bigserial PRIMARY KEY,
    name varchar NOT NULL DEFAULT '',
    permissions bigint NOT NULL DEFAULT 0
);

CREATE TABLE users (
    id bigserial PRIMARY KEY,
    email varchar NOT NULL DEFAULT '',
    encrypted_password varchar NOT NULL DEFAULT '',
    confirmed_at timestamp without time zone,
    account_id bigint NOT NULL,
    disabled boolean NOT NULL DEFAULT false,
    approved boolean NOT NULL DEFAULT true,
    role_id bigint
);
