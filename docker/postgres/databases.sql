-- The two databases, each with an owner of its own. The image runs this once, when it makes its data.
\set airflow_password `cat /run/secrets/airflow_database_password`
\set etar_password `cat /run/secrets/etar_report_store_password`
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE DATABASE airflow OWNER airflow;
CREATE ROLE etar LOGIN PASSWORD :'etar_password';
CREATE DATABASE etar OWNER etar;
