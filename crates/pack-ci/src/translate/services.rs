//! `services` and the databases among `addons`.

use crate::{account::Claims, pipeline::Service, yaml::At};

/// What a list of services asks for.
#[derive(Default)]
pub(crate) struct Needs {
    pub(crate) services: Vec<Service>,
    /// Commands that start something on the machine itself.
    pub(crate) commands: Vec<&'static str>,
    pub(crate) env: Vec<(&'static str, &'static str)>,
}

impl Needs {
    fn add(&mut self, service: Service) {
        if !self.services.iter().any(|held| held.name == service.name) {
            self.services.push(service);
        }
    }

    fn command(&mut self, command: &'static str) {
        if !self.commands.contains(&command) {
            self.commands.push(command);
        }
    }
}

/// Read `services`.
pub(crate) fn services(at: &At<'_>, claims: &Claims, needs: &mut Needs) {
    for item in at.items() {
        let Some(name) = item.text() else {
            claims.manual(
                &item.path,
                "start this service in a step or as a service container",
            );
            continue;
        };
        service(&name.trim().to_ascii_lowercase(), &item.path, claims, needs);
    }
}

fn service(name: &str, path: &str, claims: &Claims, needs: &mut Needs) {
    match name {
        "docker" => claims.not_needed(path, "Docker runs on the hosted runners"),
        "mysql" => {
            needs.command(MYSQL);
            claims.mapped(path, "a step that starts the runner's MySQL, root without password");
        }
        "xvfb" => {
            needs.command(XVFB);
            claims.mapped(path, "a step that starts Xvfb on display :99");
        }
        "postgresql" | "postgres" => {
            postgres("16", needs);
            claims.mapped(path, "service container `postgres`");
        }
        _ => match container(name) {
            Some(service) => {
                claims.mapped(path, format!("service container `{}`", service.name));
                needs.add(service);
            }
            None => claims.manual(
                path,
                "there is no ready service of this name: start it in a step or as a service container",
            ),
        },
    }
}

const MYSQL: &str = "sudo systemctl start mysql\nmysql -uroot -proot -e \"ALTER USER 'root'@'localhost' IDENTIFIED WITH mysql_native_password BY ''\"";
const XVFB: &str =
    "Xvfb :99 -screen 0 1280x1024x24 >/dev/null 2>&1 &\necho \"DISPLAY=:99\" >> \"$GITHUB_ENV\"";

fn container(name: &str) -> Option<Service> {
    let (name, image, port, health) = match name {
        "redis" | "redis-server" => ("redis", "redis:7", 6379, Some("redis-cli ping")),
        "mongodb" | "mongo" => ("mongodb", "mongo:7", 27017, None),
        "memcached" => ("memcached", "memcached:1.6", 11211, None),
        "rabbitmq" => (
            "rabbitmq",
            "rabbitmq:3",
            5672,
            Some("rabbitmq-diagnostics -q ping"),
        ),
        "cassandra" => ("cassandra", "cassandra:3.11", 9042, None),
        "elasticsearch" => ("elasticsearch", "elasticsearch:7.17.28", 9200, None),
        _ => return None,
    };
    let env = if name == "elasticsearch" {
        vec![("discovery.type", "single-node")]
    } else {
        Vec::new()
    };
    Some(Service {
        name,
        image: image.to_owned(),
        port,
        env,
        health,
    })
}

fn postgres(version: &str, needs: &mut Needs) {
    needs.services.retain(|held| held.name != "postgres");
    needs.add(Service {
        name: "postgres",
        image: format!("postgres:{version}"),
        port: 5432,
        env: vec![("POSTGRES_HOST_AUTH_METHOD", "trust")],
        health: Some("pg_isready"),
    });
    needs.env = vec![("PGHOST", "localhost"), ("PGUSER", "postgres")];
}

/// `addons.postgresql`: the version of the server.
pub(crate) fn postgres_addon(at: &At<'_>, claims: &Claims, needs: &mut Needs) {
    match at.text() {
        Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            postgres(version, needs);
            claims.mapped(&at.path, format!("service container `postgres:{version}`"));
        }
        _ => claims.manual(&at.path, "name the version of PostgreSQL"),
    }
}

/// `addons.mariadb`: the version of the server.
pub(crate) fn mariadb_addon(at: &At<'_>, claims: &Claims, needs: &mut Needs) {
    match at.text() {
        Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            needs.add(Service {
                name: "mariadb",
                image: format!("mariadb:{version}"),
                port: 3306,
                env: vec![("MARIADB_ALLOW_EMPTY_ROOT_PASSWORD", "yes")],
                health: None,
            });
            claims.mapped(&at.path, format!("service container `mariadb:{version}`"));
        }
        _ => claims.manual(&at.path, "name the version of MariaDB"),
    }
}
