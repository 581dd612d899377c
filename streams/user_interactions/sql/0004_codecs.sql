-- Three fifths of the bytes. Parts that are there stay as they are until they are merged; nothing is written anew.
ALTER TABLE user_interactions MODIFY SETTING default_compression_codec = 'ZSTD(1)';
-- Random, so nothing makes it smaller.
ALTER TABLE user_interactions MODIFY COLUMN event_id CODEC(NONE);
-- They come again, far apart: what repeats is found within a block.
ALTER TABLE user_interactions MODIFY COLUMN user_id CODEC(ZSTD(3)) SETTINGS (min_compress_block_size = 1048576);
ALTER TABLE user_interactions MODIFY COLUMN session_id CODEC(ZSTD(3)) SETTINGS (min_compress_block_size = 1048576);
-- Of one minute, in any order.
ALTER TABLE user_interactions MODIFY COLUMN event_time CODEC(T64, ZSTD(1));
-- They grow from row to row, and are what is read most often.
ALTER TABLE user_interactions MODIFY COLUMN _offset CODEC(Delta, LZ4);
ALTER TABLE user_interactions MODIFY COLUMN _timestamp CODEC(Delta, LZ4);
