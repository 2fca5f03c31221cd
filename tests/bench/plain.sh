#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The yardstick of `make bench`: what an experienced person types over ssh on a fresh Debian host to get what site.yml
# gives a visitor and an admin: the guestbook over TLS with MariaDB, admin by key only, firewall, bans of who guesses at ssh,
# security updates, checks of what is installed, a network and a kernel that give away less.
# No sleeps, no detours, nothing slower than by hand. Usage: plain.sh ADDRESS KEY KNOWN_HOSTS APP_DIRECTORY
set -euo pipefail
address=$1 key=$2 known_hosts=$3 app=$4
ssh=(ssh -F none -i "$key" -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR -o UserKnownHostsFile="\"$known_hosts\"")

# the code, as it lies in the working directory
tar -C "$app" --exclude=.venv --exclude=.env --exclude=instance --exclude=__pycache__ -cz . |
    "${ssh[@]}" "root@$address" 'mkdir -p /srv/guestbook/app && tar -C /srv/guestbook/app --no-same-owner -xz'

# everything else, in one session
"${ssh[@]}" "root@$address" bash -s -- "$address" "'$(cat "$key.pub")'" <<'END'
set -euo pipefail
address=$1 public_key=$2
export DEBIAN_FRONTEND=noninteractive

# all packages at once
apt-get -qq update
apt-get -qq install -y --no-install-recommends nginx supervisor mariadb-server ufw unattended-upgrades git python3-venv \
    ca-certificates openssl fail2ban python3-systemd nftables debsums aide libpam-passwdqc >/dev/null

# the admin: key and sudo
useradd --create-home --shell /bin/bash ops
install -d -m 700 -o ops -g ops /home/ops/.ssh
install -m 600 -o ops -g ops /dev/stdin /home/ops/.ssh/authorized_keys <<<"$public_key"
install -m 440 /dev/stdin /etc/sudoers.d/ops <<<'ops ALL=(ALL:ALL) NOPASSWD: ALL'
visudo -cqf /etc/sudoers.d/ops

# ssh: no root, no passwords
cat >/etc/ssh/sshd_config.d/00-hardening.conf <<'FILE'
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
FILE
sshd -t
systemctl reload ssh

# the firewall: ssh and the web
for port in 22 80 443; do ufw allow "$port/tcp" >/dev/null; done
ufw --force enable >/dev/null

# bans: Debian's default looks for a log that is not there without rsyslog
cat >/etc/fail2ban/jail.local <<'FILE'
[DEFAULT]
backend = systemd
banaction = nftables
[sshd]
enabled = true
FILE
systemctl restart fail2ban

# the kernel; what a container may not set is left
cat >/etc/sysctl.d/60-hardening.conf <<'FILE'
-net.ipv4.conf.*.accept_redirects = 0
-net.ipv4.conf.*.send_redirects = 0
-net.ipv4.conf.*.accept_source_route = 0
-net.ipv4.tcp_syncookies = 1
-kernel.kptr_restrict = 2
-kernel.dmesg_restrict = 1
-fs.suid_dumpable = 0
FILE
systemctl restart systemd-sysctl

# security updates by themselves
cat >/etc/apt/apt.conf.d/20auto-upgrades <<'FILE'
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
FILE

# the database and its user
password=$(openssl rand -hex 16)
mariadb <<SQL
CREATE DATABASE guestbook CHARACTER SET utf8mb4;
CREATE USER guestbook@127.0.0.1 IDENTIFIED BY '$password';
GRANT ALL ON guestbook.* TO guestbook@127.0.0.1;
SQL

# the user of the app, who owns it
useradd --system --home-dir /srv/guestbook --shell /usr/sbin/nologin guestbook
chown -R guestbook:guestbook /srv/guestbook
cd /srv/guestbook/app
as_app() { runuser -u guestbook -- env HOME=/srv/guestbook PATH="/srv/guestbook/venv/bin:$PATH" FLASK_APP='guestbook:create_app()' "$@"; }

# the virtual environment
as_app python3 -m venv /srv/guestbook/venv
as_app pip install --quiet --disable-pip-version-check -r requirements.txt gunicorn pymysql cryptography

# the secrets
install -m 640 -g guestbook /dev/stdin .env <<FILE
SECRET_KEY=$(openssl rand -hex 32)
DATABASE_URL=mysql+pymysql://guestbook:$password@127.0.0.1:3306/guestbook?charset=utf8mb4
FILE

# translations and tables
as_app flask translate compile
as_app flask db upgrade 2>/dev/null

# the program, kept running by supervisor
cat >/etc/supervisor/conf.d/guestbook.conf <<FILE
[program:guestbook]
command=/srv/guestbook/venv/bin/gunicorn --workers $((2 * $(nproc) + 1)) --bind 127.0.0.1:8000 guestbook:create_app()
directory=/srv/guestbook/app
user=guestbook
autorestart=true
redirect_stderr=true
stdout_logfile=/var/log/guestbook.log
FILE
supervisorctl update >/dev/null

# a certificate
install -d /etc/ssl/guestbook
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 -subj "/CN=$address" \
    -addext "subjectAltName=IP:$address" -keyout /etc/ssl/guestbook/key.pem -out /etc/ssl/guestbook/cert.pem 2>/dev/null
chmod 600 /etc/ssl/guestbook/key.pem

# the site: http leads to https, nginx serves the static files
cat >/etc/nginx/sites-available/guestbook <<'FILE'
server {
    listen 80 default_server;
    listen [::]:80 default_server;
    return 301 https://$host$request_uri;
}
server {
    listen 443 ssl http2 default_server;
    listen [::]:443 ssl http2 default_server;
    ssl_certificate /etc/ssl/guestbook/cert.pem;
    ssl_certificate_key /etc/ssl/guestbook/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    client_max_body_size 16m;
    location /static/ {
        alias /srv/guestbook/app/guestbook/static/;
        expires 30d;
    }
    location / {
        proxy_pass http://127.0.0.1:8000;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
    }
}
FILE
ln -sf ../sites-available/guestbook /etc/nginx/sites-enabled/guestbook
rm -f /etc/nginx/sites-enabled/default
nginx -t -q
systemctl reload nginx
END

# the admin gets in, root does not, and a visitor sees the page (the workers may still be starting)
"${ssh[@]}" "ops@$address" sudo -n true
if "${ssh[@]}" "root@$address" true 2>/dev/null; then
    echo "root still gets in" >&2
    exit 1
fi
SECONDS=0
until [ "$(curl -sk -o /dev/null -w '%{http_code}' "https://$address/")" = 200 ]; do
    if [ $SECONDS -ge 30 ]; then
        echo "https://$address/ does not answer 200" >&2
        exit 1
    fi
done
