# Makes a database and its owner for each who keeps something here. Read once, by the shell of the
# image's entry point, when the data folder is empty. Encoding and order are named: they must not depend
# on how the server's image was made, and C's order outlives an upgrade of its libraries.
for owner in feast mlflow training; do
  variable="$(echo "$owner" | tr '[:lower:]' '[:upper:]')_DB_PASSWORD"
  psql -v ON_ERROR_STOP=1 -v owner="$owner" -v password="${!variable}" \
    -U "${POSTGRES_USER:-postgres}" -d "${POSTGRES_DB:-postgres}" <<'SQL'
CREATE ROLE :"owner" LOGIN PASSWORD :'password';
CREATE DATABASE :"owner" OWNER :"owner" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
REVOKE CONNECT ON DATABASE :"owner" FROM PUBLIC;
SQL
done
