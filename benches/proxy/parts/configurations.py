"""What is written for proxies that read a file: one worker, nothing logged, nothing cut short."""

# NB: with a master what it shares with its worker would be counted twice.
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {sockets}; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream engine {{
        server {upstream};
        keepalive 4096;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
    maxconn {clients}
defaults
    mode http
    timeout connect 10s
    timeout client 300s
    timeout server 300s
    option http-no-delay
    http-reuse always
frontend clients
    bind {listen} backlog 4096
    default_backend engine
backend engine
    server engine {upstream}
"""
