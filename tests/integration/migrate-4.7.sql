-- What Mastodon 4.7's migrations change of 4.6's tables before its new code starts.
ALTER TABLE keypairs ALTER COLUMN uri DROP NOT NULL;
ALTER TABLE keypairs ADD COLUMN local_fragment varchar;
CREATE UNIQUE INDEX ON keypairs (account_id, local_fragment);
ALTER TABLE accounts ADD COLUMN requested_deletion_at timestamp(6) without time zone;
