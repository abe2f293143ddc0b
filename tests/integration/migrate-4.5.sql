-- What Mastodon 4.5's migrations change of 4.3's and 4.4's tables.
ALTER TABLE accounts
    ADD COLUMN following_url varchar NOT NULL DEFAULT '',
    ADD COLUMN id_scheme integer DEFAULT 1;
