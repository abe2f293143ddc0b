-- What Mastodon 4.6's migrations change of 4.5's tables.
ALTER TABLE accounts
    ADD COLUMN avatar_description varchar NOT NULL DEFAULT '',
    ADD COLUMN collections_url varchar,
    ADD COLUMN feature_approval_policy integer NOT NULL DEFAULT 0,
    ADD COLUMN header_description varchar NOT NULL DEFAULT '',
    ADD COLUMN show_featured boolean NOT NULL DEFAULT true,
    ADD COLUMN show_media boolean NOT NULL DEFAULT true,
    ADD COLUMN show_media_replies boolean NOT NULL DEFAULT true;

CREATE TABLE keypairs (
    id bigserial PRIMARY KEY,
    account_id bigint NOT NULL,
    created_at timestamp(6) without time zone NOT NULL,
    expires_at timestamp(6) without time zone,
    private_key varchar,
    public_key varchar NOT NULL,
    revoked boolean NOT NULL DEFAULT false,
    type integer NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL,
    uri varchar NOT NULL
);
CREATE UNIQUE INDEX ON keypairs (uri);
