#!/bin/bash
# What every container of the practice cluster runs. The one argument is the role.
# Daemons stay in the foreground and log to the container's log; when one ends, the container ends.
set -eu

waits_for() { # address port
    until nc -z "$1" "$2" 2> /dev/null; do sleep 0.1; done
}

users() { # the same people, with the same numbers, on every node
    local name uid
    while read -r name uid; do
        getent passwd "$name" > /dev/null || useradd --uid "$uid" --no-create-home --shell /bin/bash "$name"
        usermod --password '*' "$name" # no password, but not locked: sshd refuses locked accounts
    done < /etc/dl4mic/users
    install -m 0644 /etc/dl4mic/subids /etc/subuid
    install -m 0644 /etc/dl4mic/subids /etc/subgid
}

homes() {
    local name uid keys
    install -d -m 0755 /scratch/site
    while read -r name uid; do
        if [ ! -e "/home/$name" ]; then
            cp -a /etc/skel "/home/$name" && chown -R "$uid:$uid" "/home/$name"
        fi
        install -d -o "$uid" -g "$uid" -m 0700 "/home/$name" "/home/$name/.ssh" "/scratch/$name"
        keys="/home/$name/.ssh/authorized_keys"
        if [ -e "/etc/dl4mic/keys/$name.pub" ] && ! grep -qsxFf "/etc/dl4mic/keys/$name.pub" "$keys"; then
            cat "/etc/dl4mic/keys/$name.pub" >> "$keys"
            chown "$uid:$uid" "$keys" && chmod 0600 "$keys"
        fi
    done < /etc/dl4mic/users
}

munge() {
    install -d -o munge -g munge -m 0755 /run/munge
    chown munge:munge /etc/munge/munge.key
    setpriv --reuid=munge --regid=munge --clear-groups munged --foreground &
    until [ -S /run/munge/munge.socket.2 ]; do sleep 0.05; done
}

secure_shell() {
    mkdir -p /run/sshd
    /usr/sbin/sshd -D -e &
}

containers_by_users() { # Apptainer opens images by FUSE, as the user
    [ -e /dev/fuse ] || mknod /dev/fuse c 10 229
    chmod 0666 /dev/fuse
}

controller() {
    munge
    users
    install -d -o mysql -g mysql /run/mysqld
    [ -d /var/lib/dl4mic/mysql ] || cp -a /var/lib/mysql /var/lib/dl4mic/mysql
    install -d -o slurm -g slurm /var/lib/dl4mic/slurmctld
    mariadbd --user=mysql --datadir=/var/lib/dl4mic/mysql --skip-networking --skip-name-resolve \
        --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 &
    until mariadb-admin --silent ping 2> /dev/null; do sleep 0.1; done
    # slurmdbd runs as the user slurm, who the socket vouches for: no password anywhere.
    mariadb --execute "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
        CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
        GRANT ALL ON slurm_acct_db.* TO slurm@localhost"
    chown slurm:slurm /etc/slurm/slurmdbd.conf
    install -d -o slurm -g slurm /run/slurmdbd
    slurmdbd -D &
    waits_for ctl 6819
    bash /etc/dl4mic/accounts.sh
    slurmctld -D &
}

login() {
    containers_by_users
    munge
    users
    homes
    secure_shell
}

simulated_gpus() { # the null device under the GPU's name; a real GPU of this machine stays out of sight
    local index count
    count=$(cat /etc/dl4mic/gpus)
    rm -rf /dev/nvidia*
    for ((index = 0; index < count; index++)); do mknod --mode=0666 "/dev/nvidia$index" c 1 3; done
}

gpu() {
    containers_by_users
    simulated_gpus
    if [ -e /etc/dl4mic/firewall.nft ]; then nft --file /etc/dl4mic/firewall.nft; fi
    munge
    users
    secure_shell
    mkdir -p /var/spool/slurmd
    waits_for ctl 6817
    slurmd -D --conf-server ctl:6817 &
}

registry() {
    docker-registry serve /etc/dl4mic/registry.yml &
}

# Told to stop, every daemon writes down what it knows first.
trap 'trap - TERM; jobs -p | xargs --no-run-if-empty kill -TERM; wait; exit 0' TERM

case "$1" in
    controller) controller ;;
    login) login ;;
    gpu) gpu ;;
    registry) registry ;;
esac
wait -n
echo "dl4mic-hpc sandbox: a daemon of '$1' has ended, and with it this container" >&2
exit 1
