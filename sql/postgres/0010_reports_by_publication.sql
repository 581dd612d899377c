-- Reports in the order in which they were published: what whoever listens to them has missed.
CREATE INDEX reports_by_publication ON reports (published_at);
