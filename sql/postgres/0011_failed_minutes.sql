-- The minutes that failed, which whoever looks at a stream is told of: few of very many.
CREATE INDEX minutes_failed ON minutes (stream, minute) WHERE state = 'failed';
