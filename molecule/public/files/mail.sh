#!/bin/sh
# The mail server of net.test: it takes mail for visitor@net.test, says of each message what opendkim thinks of its signature
# (Authentication-Results), and keeps it in /var/mail/visitor.
set -eu
address=$(hostname -I | cut -d' ' -f1)
mkdir -p /etc/names
printf 'mx-host=net.test,mx.net.test,10\nhost-record=mx.net.test,%s\n' "$address" > /etc/names/net.conf
id visitor >/dev/null 2>&1 || useradd --create-home visitor

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=mx.net.test \
    -addext subjectAltName=DNS:mx.net.test -keyout /etc/postfix/tls.key -out /etc/postfix/tls.pem 2>/dev/null
cat > /etc/postfix/main.cf <<END
compatibility_level = 3.6
myhostname = mx.net.test
mydestination = net.test
mynetworks = 127.0.0.0/8
inet_interfaces = all
alias_maps =
alias_database =
mail_spool_directory = /var/mail
smtpd_milters = inet:127.0.0.1:8891
smtpd_tls_cert_file = /etc/postfix/tls.pem
smtpd_tls_key_file = /etc/postfix/tls.key
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
END
cat > /etc/opendkim.conf <<END
Mode v
UserID opendkim
PidFile /run/opendkim/opendkim.pid
Socket inet:8891@127.0.0.1
AuthservID mx.net.test
AlwaysAddARHeader yes
ResolverConfiguration /etc/opendkim-names.conf
Syslog yes
END
# its resolver knows by itself that there is nothing in test
cat > /etc/opendkim-names.conf <<END
server:
    local-zone: "test." transparent
    do-not-query-localhost: no
    cache-max-ttl: 0
    cache-max-negative-ttl: 0
forward-zone:
    name: "."
    forward-addr: 127.0.0.1
END
systemctl restart opendkim postfix
