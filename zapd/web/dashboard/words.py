"""The dashboard's languages. The English words are the keys; a test finds a template's word that is missing here."""

from collections.abc import Callable, Mapping

LANGUAGES: Mapping[str, str] = {"en": "English", "pt-BR": "Português"}


def translator(language: str) -> Callable[[str], str]:
    """English → this language. What has no translation, such as a state of a later release, stays English."""
    return (lambda word: _PT_BR.get(word, word)) if language == "pt-BR" else (lambda word: word)


_PT_BR: Mapping[str, str] = {
    # the frame
    "Overview": "Visão geral",
    "Connections": "Conexões",
    "Queues": "Filas",
    "API": "API",
    "Language": "Idioma",
    "Log out": "Sair",
    "Skip to the content": "Ir para o conteúdo",
    "live": "ao vivo",
    "delayed": "atrasado",
    "offline": "sem conexão",
    "Log in": "Entrar",
    "API key": "Chave de API",
    "Paste an API key. The first one is in the file admin.key of the state directory.": (
        "Cole uma chave de API. A primeira está no arquivo admin.key do diretório de estado."
    ),
    "This key opens nothing.": "Esta chave não abre nada.",
    "This key may not read, which every page here needs.": (
        "Esta chave não pode ler, e toda página daqui precisa disso."
    ),
    "Too many wrong keys. Try again in a minute.": "Chaves erradas demais. Tente de novo em um minuto.",
    "Something is wrong": "Algo deu errado",
    "Back": "Voltar",
    "This form is out of date. Open the page again.": "Este formulário expirou. Abra a página de novo.",
    "This key may not do that.": "Esta chave não permite isso.",
    "There is no such page.": "Esta página não existe.",
    "A part is away at the moment. Nothing is lost; try again.": (
        "Uma parte está fora do ar. Nada se perdeu; tente de novo."
    ),
    # overview
    "Needs a person": "Precisa de alguém",
    "Nothing needs you.": "Nada precisa de você.",
    "Messages held, nobody knows whether they left:": "Mensagens retidas, ninguém sabe se saíram:",
    "Messages given up:": "Mensagens desistidas:",
    "Jobs in the dead letters:": "Jobs nas cartas mortas:",
    "webhook endpoints disabled": "endpoints de webhook desativados",
    "Redis is away: messages are accepted and wait.": "O Redis está fora: mensagens são aceitas e esperam.",
    "A part of the daemon has failed:": "Uma parte do daemon falhou:",
    "Make the first connection": "Crie a primeira conexão",
    "No connections yet. The sandbox needs nothing but a click.": (
        "Nenhuma conexão ainda. O sandbox só precisa de um clique."
    ),
    "Try the sandbox": "Experimentar o sandbox",
    # connections
    "New connection": "Nova conexão",
    "Label": "Nome",
    "Transport": "Transporte",
    "State": "Estado",
    "Reason": "Motivo",
    "Since": "Desde",
    "Next send": "Próximo envio",
    "at once": "já",
    "a minute": "por minuto",
    "Pace": "Ritmo",
    "Pause": "Pausar",
    "Resume": "Retomar",
    "Close": "Encerrar",
    "Close this connection for good?": "Encerrar esta conexão de vez?",
    "Start again": "Iniciar de novo",
    "Pair again": "Parear de novo",
    "Log the account out": "Desconectar a conta",
    "Unlink the account from zapd? Messages wait until it is paired again.": (
        "Desvincular a conta do zapd? Mensagens esperam até ela ser pareada de novo."
    ),
    "Where the provider is to send its webhooks, on your public address; shown this once:": (
        "Para onde o provedor deve enviar os webhooks, no seu endereço público; mostrado só agora:"
    ),
    "Create": "Criar",
    "Choose how to connect": "Escolha como conectar",
    "Simulated network, for trying things out": "Rede simulada, para experimentar",
    "Meta Cloud API, the official one": "Meta Cloud API, a oficial",
    "Z-API, a paid gateway": "Z-API, um gateway pago",
    "WhatsApp Web, by QR code": "WhatsApp Web, por QR code",
    "Phone number ID": "ID do número de telefone",
    "WhatsApp Business Account ID": "ID da conta WhatsApp Business",
    "Access token": "Token de acesso",
    "App secret": "Chave secreta do app",
    "Verify token": "Token de verificação",
    "Instance ID": "ID da instância",
    "Instance token": "Token da instância",
    "Client token": "Token do cliente",
    "Phone number for a pairing code; leave it empty to scan a QR code": (
        "Número para o código de pareamento; deixe vazio para ler um QR code"
    ),
    "Webhook URL (optional)": "URL do webhook (opcional)",
    "Secret of the webhook, shown this once:": "Segredo do webhook, mostrado só agora:",
    # one connection
    "Scan this code": "Leia este código",
    "On the phone: WhatsApp, Linked devices, Link a device.": (
        "No celular: WhatsApp, Dispositivos conectados, Conectar um dispositivo."
    ),
    "On the phone: WhatsApp, Linked devices, Link with phone number instead.": (
        "No celular: WhatsApp, Dispositivos conectados, Conectar com número de telefone."
    ),
    "Pairing code": "Código de pareamento",
    "New codes come by themselves.": "Códigos novos aparecem sozinhos.",
    "good until": "vale até",
    "Conversations": "Conversas",
    "No messages yet.": "Nenhuma mensagem ainda.",
    "To": "Para",
    "Message": "Mensagem",
    "Send": "Enviar",
    "Phone number with country code, such as 5511999998888": "Número com código do país, como 5511999998888",
    "Show more": "Mostrar mais",
    "Earlier messages": "Mensagens anteriores",
    "leaves at": "sai às",
    # kinds of messages
    "image": "imagem",
    "video": "vídeo",
    "audio": "áudio",
    "document": "documento",
    "sticker": "figurinha",
    "location": "localização",
    "contacts": "contatos",
    "reaction": "reação",
    "interactive": "interativa",
    "template": "modelo",
    "poll": "enquete",
    "order": "pedido",
    "edit": "edição",
    "revoke": "apagada",
    "unknown": "desconhecida",
    # queues
    "Queue": "Fila",
    "Waiting": "Esperando",
    "Active": "Ativos",
    "Delayed": "Adiados",
    "Dead": "Mortos",
    "Done": "Feitos",
    "Failed": "Falhas",
    "Oldest waits since": "O mais antigo espera desde",
    "paused": "pausada",
    "running": "rodando",
    "Pause all": "Pausar todas",
    "Resume all": "Retomar todas",
    # what a person can do (whatsapp/advice.py)
    "What to do": "O que fazer",
    "Pair with a code to type": "Parear com um código para digitar",
    "Number of the phone": "Número do celular",
    "Show a code": "Mostrar um código",
    "Nobody scanned a code in time. Pair it again when the phone is at hand.": (
        "Ninguém leu o código a tempo. Pareie de novo quando o celular estiver à mão."
    ),
    (
        "Nobody confirmed the passkey in time. Pair it again with a code to type; if the phone asks once more, remove "
        "the passkey there (Settings, Account, Passkeys) and try again."
    ): (
        "Ninguém confirmou a chave de acesso a tempo. Pareie de novo com um código para digitar; se o celular pedir "
        "outra vez, remova nele a chave de acesso (Configurações, Conta, Chaves de acesso) e tente de novo."
    ),
    "The keys of this account are not on this disk. Log it out and pair it again.": (
        "As chaves desta conta não estão neste disco. Desconecte-a e pareie de novo."
    ),
    "Its login cannot be read and was kept aside. Pair it again.": (
        "O login dela não pôde ser lido e foi guardado à parte. Pareie de novo."
    ),
    "This account crashed its process again and again. Log it out and pair it again.": (
        "Esta conta derrubou o processo dela várias vezes. Desconecte-a e pareie de novo."
    ),
    "Its settings cannot work. Correct them and start it again.": (
        "As configurações dela não funcionam. Corrija e inicie de novo."
    ),
    "The provider refuses the access token. Set a new one, then resume; the queue is kept.": (
        "O provedor recusa o token de acesso. Ponha um novo e retome; a fila fica guardada."
    ),
    "The token lacks a permission. Grant it at the provider, then resume; the queue is kept.": (
        "Falta uma permissão ao token. Conceda no provedor e retome; a fila fica guardada."
    ),
    "The provider wants a payment to be settled. Settle it, then resume; the queue is kept.": (
        "Há um pagamento pendente no provedor. Resolva e retome; a fila fica guardada."
    ),
    "The number is not registered at Meta. Register it there, then resume; the queue is kept.": (
        "O número não está registrado na Meta. Registre lá e retome; a fila fica guardada."
    ),
    "The provider restricts this account. Look into its console there, then resume.": (
        "O provedor restringiu esta conta. Veja o console dele e depois retome."
    ),
    "Another program uses this login. Stop that one, then resume.": (
        "Outro programa usa este login. Pare o outro e depois retome."
    ),
    "WhatsApp has locked this account for now. Look on the phone before you resume.": (
        "O WhatsApp bloqueou esta conta por enquanto. Veja no celular antes de retomar."
    ),
    "WhatsApp has banned this number for some time. Wait until it ends, then start it again.": (
        "O WhatsApp baniu este número por um tempo. Espere acabar e inicie de novo."
    ),
    (
        "WhatsApp asks for a passkey. Confirm it on the phone that scanned the code; zapd cannot do that for you. "
        "If the phone asks nothing, pair with a code to type instead."
    ): (
        "O WhatsApp pede uma chave de acesso. Confirme no celular que leu o código; o zapd não pode fazer isso por "
        "você. Se o celular não pedir nada, pareie com um código para digitar."
    ),
    "The account is unlinked. Pair it again: its messages wait.": (
        "A conta está despareada. Pareie de novo: as mensagens esperam."
    ),
    "WhatsApp has banned this number. Appeal on the phone; starting it again before that makes it worse.": (
        "O WhatsApp baniu este número. Recorra pelo celular; iniciar antes disso piora a situação."
    ),
    "WhatsApp takes this client no more. Upgrade zapd with its extra web, then start it again.": (
        "O WhatsApp não aceita mais este cliente. Atualize o zapd com o extra web e inicie de novo."
    ),
    # states
    "created": "criada",
    "starting": "iniciando",
    "qr pending": "espera QR code",
    "passkey required": "pede chave de acesso",
    "connected": "conectada",
    "degraded": "instável",
    "reconnecting": "reconectando",
    "client outdated": "cliente desatualizado",
    "logged out": "desconectada pelo celular",
    "banned": "banida",
    "closing": "encerrando",
    "closed": "encerrada",
    "failed": "falhou",
    "queued": "na fila",
    "processing": "processando",
    "sending": "enviando",
    "sent": "enviada",
    "delivered": "entregue",
    "read": "lida",
    "played": "ouvida",
    "dlq": "desistida",
    "held": "retida",
    "expired": "expirada",
    "canceled": "cancelada",
    "received": "recebida",
}
